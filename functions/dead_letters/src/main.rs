//! Takes jobs from the dead-letter queue, ends their messages and tells their users.
//!
//! This is a function of its own, for two reasons. The worker can't do it: jobs come here because the worker does not
//! start, or dies of them. The janitor should not do it: it has permissions that are not needed here (sweeping,
//! deleting objects, closing sockets), and a flood of dead jobs would run beside its rounds, under its time-out.
//!
//! A job that was handled leaves the dead-letter queue. A job that could not be handled stays there for the next try,
//! or until an operator moves it back to its first queue.

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
        // In a FIFO batch, the records after a failure must stay behind it.
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
            // Another try can't help. If a message waits for this job, the janitor finds the message in the table.
            tracing::error!(
                message = record.message_id,
                "The queue's message was dropped, because it is not a job: {error}"
            );
            return true;
        }
    };
    match dead_letters.end(&job).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(message = %job.message_id, "The message could not be ended; it is tried again: {error}");
            false
        }
    }
}
