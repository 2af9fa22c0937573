//! Ends the messages whose jobs were received too often: from the dead-letter queue, their users are told.
//!
//! It is a function of its own, and no second source of the worker or the janitor. Jobs die where the worker does not
//! start, or not with them, and then it is not the worker who can say so. The janitor may sweep, delete objects and
//! close sockets, none of which is needed here; and a flood of dead jobs would run beside its rounds, under its
//! time-out.
//!
//! What was handled leaves the dead-letter queue. What could not be handled now stays there, for the next try, or for
//! whoever moves it back to the queue.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::answer::DeadLetters;
use shared::lambda::Failure;
use shared::queue::Job;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let dead_letters = shared::lambda::start().await.dead_letters()?;
    run(service_fn(|event| end_all(&dead_letters, event))).await.map_err(Failure::from)
}

async fn end_all(dead_letters: &DeadLetters, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
    let mut response = SqsBatchResponse::default();
    for record in event.payload.records {
        // In a FIFO batch, what comes after a failure stays behind it.
        let ahead_failed = !response.batch_item_failures.is_empty();
        if ahead_failed || !end(dead_letters, &record).await {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = record.message_id.unwrap_or_default();
            response.batch_item_failures.push(failure);
        }
    }
    Ok(response)
}

async fn end(dead_letters: &DeadLetters, record: &SqsMessage) -> bool {
    let job: Job = match serde_json::from_str(record.body.as_deref().unwrap_or_default()) {
        Ok(job) => job,
        Err(error) => {
            // Nothing can come of it, now or later. If a message waits for it, the table has it, and the janitor.
            tracing::error!(message = record.message_id, "Dropped, because it is not a job: {error}");
            return true;
        }
    };
    match dead_letters.end(&job).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(message = %job.message_id, "Not ended, it is tried again: {error}");
            false
        }
    }
}
