//! The smallest Lambda function: it answers with the text that it was sent. It shows what the local gateway and the
//! runtime take for themselves, and how much longer other functions need to start.

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use aws_lambda_events::encodings::Body;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::tracing::init_default_subscriber();
    run(service_fn(echo)).await
}

async fn echo(event: LambdaEvent<ApiGatewayWebsocketProxyRequest>) -> Result<ApiGatewayProxyResponse, Error> {
    let mut response = ApiGatewayProxyResponse::default();
    response.status_code = 200;
    response.body = event.payload.body.map(Body::Text);
    Ok(response)
}
