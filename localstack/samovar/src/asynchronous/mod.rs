//! Asynchronous invocations: the events of a function's event queue are taken out, and the function is invoked with
//! each of them, by "Invoking a Lambda function asynchronously" in Lambda's developer guide.
//!
//! After an error of the function, an event is tried again after a minute, and once more after two. While the function
//! can't be invoked, such as when it is throttled, an event waits for a second at first and for five minutes at last,
//! until it is too old. An event that is given up goes to the function's destination for failures and to its
//! dead-letter queue.
//!
//! Invariant: an event leaves its queue when its invocation has ended for good and its record is sent, and not before.
//! Whatever ends the process in between, the event comes again at the next start (see
//! [`samovar_services::event_queues`]). So an event is invoked at least once.

mod record;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use samovar_host::{Ended, InvokeError, Request};
use samovar_services::event_queues::{Event, EventQueues, Taken};
use samovar_services::targets::Targets;
use samovar_template::Function;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::invoke::{IntegrationError, Invoker};
use record::Condition;

/// The number of events that are taken at once.
const EVENTS_AT_ONCE: usize = 10;
/// The pause after an error of the queue.
const PAUSE: Duration = Duration::from_secs(1);

/// When an event is tried again. These are Lambda's times, by "Error handling for asynchronous invocation".
#[derive(Debug, Clone, Copy)]
struct Retries {
    after_errors: [Duration; 2],
    first_after_refusal: Duration,
    longest_after_refusal: Duration,
}

const RETRIES: Retries = Retries {
    after_errors: [Duration::from_secs(60), Duration::from_secs(120)],
    first_after_refusal: Duration::from_secs(1),
    longest_after_refusal: Duration::from_secs(300),
};

/// The asynchronous invocations of one function.
#[derive(Debug)]
pub(crate) struct Asynchronous {
    function: Function,
    /// The most invocations at once.
    places: usize,
    queues: EventQueues,
    targets: Targets,
    invoker: Arc<dyn Invoker>,
    retries: Retries,
}

/// The outcome of one attempt.
#[derive(Debug)]
enum Outcome {
    Succeeded(Bytes),
    Again {
        event: Event,
        after: Duration,
        why: String,
    },
    GivenUp {
        event: Event,
        condition: Condition,
        failure: Option<InvokeError>,
        why: String,
    },
    /// The stack stops. The event comes again at the next start.
    Stopped,
}

impl Asynchronous {
    /// `account_concurrency` is the limit of a function that has reserved none.
    pub(crate) fn new(
        function: &Function,
        account_concurrency: u32,
        queues: EventQueues,
        targets: Targets,
        invoker: Arc<dyn Invoker>,
    ) -> Self {
        // A function that may not run at all is asked all the same, so that its events are given up.
        let places = function.reserved_concurrency.unwrap_or(account_concurrency).max(1);
        let places = usize::try_from(places).unwrap_or(Semaphore::MAX_PERMITS);
        Self { function: function.clone(), places, queues, targets, invoker, retries: RETRIES }
    }

    /// Invokes the function with its events until `stop`, and ends with the last running invocation.
    pub(crate) fn start(self, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(Arc::new(self).run(stop))
    }

    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.places));
        let running = TaskTracker::new();
        while let Some(first) = stop.run_until_cancelled(Arc::clone(&places).acquire_owned()).await {
            let Ok(mut free) = first else { break };
            while free.num_permits() < EVENTS_AT_ONCE
                && let Ok(another) = Arc::clone(&places).try_acquire_owned()
            {
                free.merge(another);
            }
            let take = self.queues.take(&self.function.function_name, free.num_permits());
            let Some(taken) = stop.run_until_cancelled(take).await else { break };
            match taken {
                Ok(events) => {
                    for taken in events {
                        let (this, place) = (Arc::clone(&self), free.split(1));
                        running.spawn(async move {
                            this.handle(taken).await;
                            drop(place);
                        });
                    }
                }
                Err(error) => {
                    tracing::error!("{}: events can't be taken from the queue: {error:#}", self.function.name);
                    stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                }
            }
        }
        running.close();
        running.wait().await;
    }

    /// Makes one attempt with an event, and settles it.
    async fn handle(&self, taken: Taken) {
        let name = &self.function.name;
        let settled = match self.attempt(taken.event.clone()).await {
            Outcome::Succeeded(answer) => self.succeeded(taken, &answer).await,
            Outcome::Again { event, after, why } => {
                tracing::warn!("{name}: an event is tried again in {} s. {why}", after.as_secs());
                self.queues.put_back(&self.function.function_name, &taken, &event, after).await
            }
            Outcome::GivenUp { event, condition, failure, why } => {
                tracing::warn!("{name}: an event is given up. {why}");
                self.give_up(taken, &event, condition, failure.as_ref()).await
            }
            Outcome::Stopped => return,
        };
        if let Err(error) = settled {
            tracing::error!("{name}: an event stays in its queue, and comes again at the next start: {error:#}");
        }
    }

    async fn attempt(&self, event: Event) -> Outcome {
        let config = &self.function.event_invoke;
        if event.age() > config.maximum_event_age {
            let why = format!("It is older than {} s", config.maximum_event_age.as_secs());
            return Outcome::GivenUp { event, condition: Condition::EventAgeExceeded, failure: None, why };
        }
        let request = Request {
            payload: event.payload.get().to_owned().into(),
            request_id: Some(event.request_id.clone()),
            trace_id: event.trace_id.clone(),
            client_context: event.client_context.clone(),
            log: false,
        };
        match self.invoker.call(&self.function.name, request).await {
            Ok(Ended { result: Ok(answer), .. }) => Outcome::Succeeded(answer),
            Ok(Ended { result: Err(InvokeError::ShuttingDown), .. }) => Outcome::Stopped,
            Ok(Ended { result: Err(error), .. }) => self.failed(event, error),
            Err(refused) => self.refused(event, &refused),
        }
    }

    /// The function has failed.
    fn failed(&self, event: Event, error: InvokeError) -> Outcome {
        let (why, event) = (error.to_string(), Event { errors: event.errors + 1, ..event });
        let retry = usize::try_from(event.errors - 1).unwrap_or(usize::MAX);
        match self.retries.after_errors.get(retry) {
            Some(after) if event.errors <= self.function.event_invoke.maximum_retry_attempts => {
                Outcome::Again { event, after: *after, why }
            }
            _ => Outcome::GivenUp { event, condition: Condition::RetriesExhausted, failure: Some(error), why },
        }
    }

    /// The function could not be invoked.
    fn refused(&self, event: Event, error: &IntegrationError) -> Outcome {
        let why = error.to_string();
        if self.function.reserved_concurrency == Some(0) {
            // It may never run, so Lambda does not wait.
            return Outcome::GivenUp { event, condition: Condition::RetriesExhausted, failure: None, why };
        }
        let doubled = self.retries.first_after_refusal.saturating_mul(1 << event.refusals.min(16));
        let after = doubled.min(self.retries.longest_after_refusal);
        Outcome::Again { event: Event { refusals: event.refusals.saturating_add(1), ..event }, after, why }
    }

    async fn succeeded(&self, taken: Taken, answer: &Bytes) -> Result<()> {
        if let Some(target) = &self.function.event_invoke.on_success {
            let record = record::success(&self.function.arn, &taken.event, answer);
            self.send(target, record).await;
        }
        self.queues.done(&self.function.function_name, taken).await
    }

    async fn give_up(
        &self,
        taken: Taken,
        event: &Event,
        condition: Condition,
        failure: Option<&InvokeError>,
    ) -> Result<()> {
        let config = &self.function.event_invoke;
        if let Some(target) = &config.on_failure {
            self.send(target, record::failure(&self.function.arn, event, condition, failure)).await;
        }
        if let Some(target) = &config.dead_letters {
            self.send(target, record::dead_letter(event, failure)).await;
        }
        self.queues.done(&self.function.function_name, taken).await
    }

    /// Lambda drops a record that its destination does not take, and counts it in a metric.
    async fn send(&self, target: &samovar_template::Target, message: samovar_services::targets::Message) {
        if let Err(error) = self.targets.send(target, message).await {
            tracing::error!("{}: the record of an event could not be sent: {error:#}", self.function.name);
        }
    }
}
