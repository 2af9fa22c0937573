//! `https` and `wss` at the stack's port, with the clients that functions have on AWS: they build the address of the
//! management API from the event, as AWS's own examples do, or of AWS's names, as others do.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;

use super::languages::{python, there_is, there_is_node};
use super::*;

/// A stack with a WebSocket API whose messages go to a function of this code.
async fn start(runtime: &str, name: &str, code: &str) -> (Stack, tempfile::TempDir) {
    let template = format!(
        "
Transform: AWS::Serverless-2016-10-31
Resources:
  Socket:
    Type: AWS::Serverless::WebSocketApi
    Properties:
      RouteSelectionExpression: $request.body.action
      StageName: prod
      Routes: {{$default: {{FunctionArn: !GetAtt Echo.Arn}}}}
  Http: {{Type: AWS::Serverless::HttpApi}}
  Echo:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: .
      Handler: app.handler
      Runtime: {runtime}
      Timeout: 30
      Events: {{All: {{Type: HttpApi, Properties: {{ApiId: !Ref Http}}}}}}
      Environment: {{Variables: {{BUCKET: !Ref Photos}}}}
      Policies:
        - Statement: [{{Effect: Allow, Action: 'execute-api:ManageConnections', Resource: '*'}}]
        - S3CrudPolicy: {{BucketName: !Ref Photos}}
  Photos: {{Type: AWS::S3::Bucket, DeletionPolicy: Delete, UpdateReplacePolicy: Delete}}
"
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("template.yaml");
    std::fs::write(&path, template).unwrap();
    if name == "main.go" {
        std::fs::write(dir.path().join("go.mod"), "module echo\n\ngo 1.19\n").unwrap();
    }
    let file = dir.path().join(name);
    std::fs::write(&file, code).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let arguments = ["samovar", "--port", "0", "--ephemeral", "--template", path.to_str().unwrap()];
    let stack = Stack::start(&Options::from_args(arguments, &Defaults::default()).unwrap()).await.unwrap();
    (stack, dir)
}

/// A client that accepts the authority, whose certificate the stack gives.
async fn connector(stack: &Stack) -> TlsConnector {
    let pem = reqwest::get(format!("{}/_local/ca.pem", stack.url)).await.unwrap().bytes().await.unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsConnector::from(Arc::new(client.with_root_certificates(roots).with_no_client_auth()))
}

/// What a function sends is what it was sent, to a client with TLS and to one without.
async fn check(stack: Stack) {
    check_hearing(stack, 1).await;
}

/// The client hears each message so many times.
async fn check_hearing(stack: Stack, times: usize) {
    let address = stack.url.trim_start_matches("http://");
    let plain = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://{address}/prod"), plain).await.unwrap();
    socket.send(Message::text("by ws")).await.unwrap();
    for _ in 0..times {
        let heard = within("The function posts", socket.next()).await.unwrap().unwrap();
        assert_eq!(heard.into_text().unwrap().as_str(), "by ws");
    }

    let plain = tokio::net::TcpStream::connect(address).await.unwrap();
    let localhost = ServerName::try_from("localhost").unwrap();
    let encrypted = connector(&stack).await.connect(localhost, plain).await.unwrap();
    let port = address.rsplit_once(':').unwrap().1;
    let url = format!("wss://localhost:{port}/prod");
    let (mut socket, _) = tokio_tungstenite::client_async(url, encrypted).await.unwrap();
    socket.send(Message::text("by wss")).await.unwrap();
    for _ in 0..times {
        let heard = within("The function posts", socket.next()).await.unwrap().unwrap();
        assert_eq!(heard.into_text().unwrap().as_str(), "by wss");
    }
    drop(socket);
    within("The stack stops", stack.stop(pending())).await;
}

#[tokio::test]
async fn a_function_in_python_posts_to_the_address_that_it_builds_from_the_event() {
    let Some(runtime) = python() else { return };
    let code = r#"
import urllib.request
import boto3

def handler(event, context):
    request = event["requestContext"]
    if "connectionId" not in request:
        return event["headers"]["x-forwarded-proto"]
    # By the SDK, and by the standard library, which has other roots.
    own = urllib.request.urlopen(f"https://{request['domainName']}/some/path").read()
    assert own == b"https", own
    management = boto3.client(
        "apigatewaymanagementapi", endpoint_url=f"https://{request['domainName']}/{request['stage']}"
    )
    management.post_to_connection(ConnectionId=request["connectionId"], Data=event["body"])
    return {"statusCode": 200}
"#;
    let (stack, _dir) = start(&runtime, "app.py", code).await;
    check(stack).await;
}

#[tokio::test]
async fn aws_names_are_the_stack_for_a_function_in_python() {
    let Some(runtime) = python() else { return };
    let code = r#"
import os
import urllib.error
import urllib.request
import boto3

# An SDK that does not know these variables uses AWS's own names.
for name in [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL")]:
    del os.environ[name]

def handler(event, context):
    request = event["requestContext"]
    bucket, s3 = os.environ["BUCKET"], boto3.client("s3")
    s3.put_object(Bucket=bucket, Key="a/b c", Body=event["body"])
    [found] = s3.list_objects_v2(Bucket=bucket)["Contents"]
    body = s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
    try:
        urllib.request.urlopen("https://sts.amazonaws.com/?Action=GetCallerIdentity")
        raise AssertionError("it has answered")
    except urllib.error.HTTPError as error:
        assert error.code == 501, error
    management = boto3.client(
        "apigatewaymanagementapi", endpoint_url=f"https://{request['apiId']}.execute-api.us-east-1.amazonaws.com/prod"
    )
    management.post_to_connection(ConnectionId=request["connectionId"], Data=body)
    return {"statusCode": 200}
"#;
    let (stack, _dir) = start(&runtime, "app.py", code).await;
    check(stack).await;
}

#[tokio::test]
async fn aws_names_are_the_stack_for_a_function_in_javascript() {
    if !there_is_node() {
        return;
    }
    let code = r#"
import https from "node:https";
import { ApiGatewayManagementApiClient, PostToConnectionCommand } from "@aws-sdk/client-apigatewaymanagementapi";

for (const name of Object.keys(process.env)) if (name.startsWith("AWS_ENDPOINT_URL")) delete process.env[name];

/** The status of an answer, by the older of the two clients that Node.js has. */
const status = (url) =>
  new Promise((resolve, reject) => https.get(url, (answer) => resolve(answer.statusCode)).on("error", reject));

export const handler = async (event) => {
  const { apiId, connectionId } = event.requestContext;
  const refused = [await status("https://sts.amazonaws.com/"), (await fetch("https://sts.amazonaws.com/")).status];
  if (refused.join() !== "501,501") throw new Error(refused.join());
  const endpoint = `https://${apiId}.execute-api.us-east-1.amazonaws.com/prod`;
  const management = new ApiGatewayManagementApiClient({ endpoint });
  await management.send(new PostToConnectionCommand({ ConnectionId: connectionId, Data: event.body }));
  return { statusCode: 200 };
};
"#;
    let (stack, _dir) = start("nodejs20.x", "app.mjs", code).await;
    check(stack).await;
}

#[tokio::test]
async fn aws_names_are_the_stack_for_a_program_whose_client_uses_the_proxy() {
    if !there_is("curl", Command::new("curl").arg("--version")) {
        return;
    }
    let code = r#"#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  headers="$(mktemp)"
  event="$(curl -sS -D "$headers" "$api/next")" || exit 1
  id="$(grep -i '^lambda-runtime-aws-request-id:' "$headers" | tr -d '\r' | cut -d ' ' -f 2-)"
  rm "$headers"
  field() { printf %s "$event" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
  host="$(field apiId).execute-api.us-east-1.amazonaws.com"
  if curl -sS -f -d "$(field body)" "https://$host/prod/@connections/$(field connectionId)"; then
    curl -sS -d '{"statusCode":200}' "$api/$id/response"
  else
    curl -sS -d '{"errorMessage":"not posted","errorType":"Error"}' "$api/$id/error"
  fi
done
"#;
    let (stack, _dir) = start("provided.al2023", "bootstrap", code).await;
    check(stack).await;
}

/// The SDK for Go uses this HTTP client.
#[tokio::test]
async fn a_function_in_go_posts_to_the_address_of_the_event_and_to_awss_own() {
    if !there_is("Go", Command::new("go").arg("version")) {
        return;
    }
    let (stack, _dir) = start("provided.al2023", "main.go", include_str!("tls/main.go")).await;
    check_hearing(stack, 2).await;
}

#[tokio::test]
async fn a_function_in_javascript_posts_to_the_address_that_it_builds_from_the_event() {
    if !there_is_node() {
        return;
    }
    let code = r#"
import { ApiGatewayManagementApiClient, PostToConnectionCommand } from "@aws-sdk/client-apigatewaymanagementapi";

export const handler = async (event) => {
  const { domainName, stage, connectionId } = event.requestContext;
  if (!connectionId) return event.headers["x-forwarded-proto"];
  const own = await (await fetch(`https://${domainName}/some/path`)).text();
  if (own !== "https") throw new Error(own);
  const management = new ApiGatewayManagementApiClient({ endpoint: `https://${domainName}/${stage}` });
  await management.send(new PostToConnectionCommand({ ConnectionId: connectionId, Data: event.body }));
  return { statusCode: 200 };
};
"#;
    let (stack, _dir) = start("nodejs20.x", "app.mjs", code).await;
    check(stack).await;
}

/// The SDK for Rust reads the roots of its process, so the client is a process of its own: this program again.
const ENDPOINT: &str = "SAMOVAR_TEST_ENDPOINT";

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the program finds out what it is to be")]
async fn the_sdk_for_rust_accepts_the_address_with_the_environment_of_a_function() {
    if let Ok(endpoint) = std::env::var(ENDPOINT) {
        return post_with_the_sdk(endpoint).await;
    }
    let bench = Bench::start(TEMPLATE).await.unwrap();
    let environment = bench.send(Method::GET, "/_local/environment", None).await.1;
    let variables = environment.lines().filter_map(|line| line.split_once('='));
    let name = std::thread::current().name().unwrap().to_owned();
    let mut client = Command::new(std::env::current_exe().unwrap());
    client.args([name.as_str(), "--exact", "--nocapture"]).env_clear().envs(variables);
    client.env(ENDPOINT, format!("{}/ws", bench.stack.url.replacen("http", "https", 1)));
    let output = tokio::task::spawn_blocking(move || client.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    within("The stack stops", bench.stack.stop(pending())).await;
}

async fn post_with_the_sdk(endpoint: String) {
    use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, Credentials, Region};
    let config = aws_sdk_apigatewaymanagement::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("LOCAL-invoke-endpoint", "local", None, None, "test"))
        .endpoint_url(endpoint)
        .build();
    let client = aws_sdk_apigatewaymanagement::Client::from_conf(config);
    let posted = client.post_to_connection().connection_id("BFHPhfCWIAMCKlQ=").data(vec![1].into()).send().await;
    // It has been understood, and there is no such connection.
    let error = posted.unwrap_err();
    assert!(error.as_service_error().is_some_and(|error| error.is_gone_exception()), "{error:?}");
}

#[tokio::test]
async fn the_site_and_the_stacks_own_paths_are_served_with_tls() {
    let bench = Bench::start(TEMPLATE).await.unwrap();
    let address = bench.stack.url.trim_start_matches("http://").to_owned();
    let pem = bench.send(Method::GET, "/_local/ca.pem", None).await.1;
    let own = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([own]).build().unwrap();
    let health = within("It is answered", client.get(format!("https://{address}/_local/health")).send()).await.unwrap();
    assert_eq!(health.text().await.unwrap(), r#"{"status":"ok"}"#);
    // Whoever does not accept the authority gets no answer.
    let error = reqwest::get(format!("https://{address}/_local/health")).await.unwrap_err();
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");
    within("The stack stops", bench.stack.stop(pending())).await;
}
