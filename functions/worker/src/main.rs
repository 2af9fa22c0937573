//! Answers queued messages: SQS in, the model asked, the answer stored and told.

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_apigatewaymanagement::config::timeout::TimeoutConfig;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::answer::Answerer;
use shared::clock::{SystemClock, Timestamp};
use shared::config::{ChatConfig, LeaseConfig, ModelConfig, QueueConfig, environment};
use shared::ids::Random;
use shared::leases::Leases;
use shared::messages::Messages;
use shared::push::ManagementApi;
use shared::queue::{Job, Queue};

/// A client that does not read holds up nobody longer than this.
const POST_TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let aws = shared::route::init().await;
    let db = aws_sdk_dynamodb::Client::new(&aws);
    let random = Arc::new(Random::from_system());
    let clock = Arc::new(SystemClock);
    let leases = Leases::new(db.clone(), LeaseConfig::read(&environment)?, clock.clone(), random.clone());
    let push = aws_sdk_apigatewaymanagement::config::Builder::from(&aws)
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(POST_TIMEOUT).build())
        .build();
    let answerer = Answerer {
        messages: Messages::new(db, ChatConfig::read(&environment)?, leases.clone(), clock.clone(), random.clone()),
        leases,
        queue: Queue::new(aws_sdk_sqs::Client::new(&aws), QueueConfig::read(&environment)?),
        model: shared::model::from_config(ModelConfig::read(&environment)?, random.clone()),
        push: Arc::new(ManagementApi(aws_sdk_apigatewaymanagement::Client::from_conf(push))),
        clock,
        random,
    };
    run(service_fn(|event| work(&answerer, event))).await
}

async fn work(answerer: &Answerer, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
    let deadline = Timestamp(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
    let mut response = SqsBatchResponse::default();
    for record in event.payload.records {
        // In a FIFO batch nothing may be answered after a failure.
        let ahead_failed = !response.batch_item_failures.is_empty();
        if ahead_failed || !answer(answerer, &record, deadline).await {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = record.message_id.unwrap_or_default();
            response.batch_item_failures.push(failure);
        }
    }
    Ok(response)
}

async fn answer(answerer: &Answerer, record: &SqsMessage, deadline: Timestamp) -> bool {
    let job: Job = match serde_json::from_str(record.body.as_deref().unwrap_or_default()) {
        Ok(job) => job,
        Err(error) => {
            // Back to the queue, and in the end to the dead-letter queue, where somebody can look at it.
            tracing::error!(message = record.message_id, "Not a job: {error}");
            return false;
        }
    };
    match answerer.run(&job, record.receipt_handle.as_deref().unwrap_or_default(), deadline).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(message = %job.message_id, "Not answered, it is tried again: {error}");
            false
        }
    }
}
