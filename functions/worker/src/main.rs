//! The worker takes messages from SQS, asks the model, stores the answer and tells the client.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::answer::Answerer;
use shared::clock::Timestamp;
use shared::lambda::Failure;
use shared::queue::Job;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let answerer = shared::lambda::start().await.answerer()?;
    run(service_fn(|event| work(&answerer, event))).await.map_err(Failure::from)
}

async fn work(answerer: &Answerer, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
    let deadline = Timestamp(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
    let mut response = SqsBatchResponse::default();
    for record in event.payload.records {
        // In a FIFO batch, a failure also fails all records after it.
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
            // SQS tries it again and moves it to the dead-letter queue in the end. There, `dead_letters` drops it.
            tracing::error!(
                message = record.message_id,
                "This is not a job; it goes to the dead-letter queue and is dropped there: {error}"
            );
            return false;
        }
    };
    match answerer.run(&job, record.receipt_handle.as_deref().unwrap_or_default(), deadline).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(message = %job.message_id, "The message is not answered; SQS delivers it again: {error}");
            false
        }
    }
}
