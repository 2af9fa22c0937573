//! Scripted functions for tests: the test sets their answers and when they come, and sees their calls.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::BoxFuture;
use samovar_host::{Ended, InvokeError, Request};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

use super::within;
use crate::invoke::{IntegrationError, Invoker};
use axum::body::Bytes;

/// The reaction of a function to an event.
type Script = Arc<dyn Fn(&Value) -> Result<Bytes, IntegrationError> + Send + Sync>;

#[derive(Default)]
pub(crate) struct Functions {
    state: Mutex<State>,
    called: Notify,
}

#[derive(Default)]
struct State {
    scripts: HashMap<String, Script>,
    gates: HashMap<String, Arc<Semaphore>>,
    /// In the order they came, without those that a test has looked at.
    calls: Vec<(String, Value)>,
    counts: HashMap<String, usize>,
}

impl Functions {
    pub(crate) fn answers(&self, function: &str, answer: Value) {
        self.script(function, move |_| Ok(answer.to_string().into()));
    }

    /// `errorMessage` is what AWS calls it.
    pub(crate) fn fails(&self, function: &str, error_message: &str) {
        let (name, message) = (function.to_owned(), error_message.to_owned());
        self.script(function, move |_| {
            Err(IntegrationError::FunctionError { function: name.clone(), message: message.clone() })
        });
    }

    pub(crate) fn script<F>(&self, function: &str, script: F)
    where
        F: Fn(&Value) -> Result<Bytes, IntegrationError> + Send + Sync + 'static,
    {
        self.lock().scripts.insert(function.to_owned(), Arc::new(script));
    }

    /// From now on its calls are seen, and answered only with a permit each.
    pub(crate) fn hold(&self, function: &str) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.lock().gates.insert(function.to_owned(), Arc::clone(&gate));
        gate
    }

    /// The function's next event: waits for it.
    pub(crate) async fn event(&self, function: &str) -> Value {
        let called = async {
            loop {
                let mut called = std::pin::pin!(self.called.notified());
                called.as_mut().enable();
                if let Some(event) = self.take(function) {
                    return event;
                }
                called.await;
            }
        };
        within(format_args!("{function} is called once more; called were {self:?}"), called).await
    }

    /// How often it has been called.
    pub(crate) fn count(&self, function: &str) -> usize {
        self.lock().counts.get(function).copied().unwrap_or(0)
    }

    fn take(&self, function: &str) -> Option<Value> {
        let mut state = self.lock();
        let at = state.calls.iter().position(|(name, _)| name == function)?;
        Some(state.calls.remove(at).1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Invoker for Functions {
    fn call<'a>(&'a self, function: &'a str, request: Request) -> BoxFuture<'a, Result<Ended, IntegrationError>> {
        let payload = request.payload;
        Box::pin(async move {
            let event: Value = serde_json::from_slice(&payload).unwrap();
            let gate = {
                let mut state = self.lock();
                state.calls.push((function.to_owned(), event.clone()));
                *state.counts.entry(function.to_owned()).or_default() += 1;
                state.gates.get(function).cloned()
            };
            self.called.notify_waiters();
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            let script = self.lock().scripts.get(function).cloned();
            let answer =
                script.map_or_else(|| Ok(json!({ "statusCode": 200 }).to_string().into()), |script| script(&event));
            let result = match answer {
                Err(IntegrationError::FunctionError { message, .. }) => {
                    let payload = json!({ "errorMessage": message }).to_string().into();
                    Err(InvokeError::FunctionError { payload })
                }
                answer => Ok(answer?),
            };
            Ok(Ended { result, log: None })
        })
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.lock().counts).finish()
    }
}
