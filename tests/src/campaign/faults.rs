//! The fault machine of the local stack, as a client of `/_local/chaos`.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::backstage::{Backstage, Failed};

/// A call that a function has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub service: String,
    pub operation: String,
}

/// One fault, once: at the `call`th call, counted from 1, of an invocation of `function` whose event contains `event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aim {
    pub function: String,
    pub event: String,
    pub call: usize,
    pub fault: String,
    #[serde(default, skip_serializing)]
    pub met: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct Status {
    #[serde(default)]
    pub decided: u64,
    #[serde(default)]
    pub faults: BTreeMap<String, u64>,
    #[serde(default)]
    pub rules: Vec<Aim>,
}

impl Backstage {
    /// Starts faults that this seed decides.
    pub async fn start_faults(&self, seed: u64, rate: f64) -> Result<(), Failed> {
        self.chaos(Method::PUT, "", Some(&json!({ "seed": seed, "rate": rate }))).await.map(|_| ())
    }

    /// Starts the notes of calls, without any fault except aimed ones.
    pub async fn note_calls(&self) -> Result<(), Failed> {
        self.chaos(Method::PUT, "", Some(&json!({}))).await.map(|_| ())
    }

    /// Ends all faults.
    pub async fn end_faults(&self) -> Result<(), Failed> {
        self.chaos(Method::DELETE, "", None).await.map(|_| ())
    }

    pub async fn faults(&self) -> Result<Status, Failed> {
        let status = self.chaos(Method::GET, "", None).await?;
        serde_json::from_value(status).map_err(|error| error.to_string())
    }

    /// The decisions so far, one JSON object a line.
    pub async fn fault_log(&self) -> Result<String, Failed> {
        Ok(match self.chaos(Method::GET, "/log", None).await? {
            Value::String(lines) => lines,
            // A single line was already read as JSON.
            line => line.to_string(),
        })
    }

    pub async fn aim(&self, aim: &Aim) -> Result<(), Failed> {
        let body = serde_json::to_value(aim).map_err(|error| error.to_string())?;
        self.chaos(Method::POST, "/rules", Some(&body)).await.map(|_| ())
    }

    /// The calls of the latest invocation of `function` whose event contains `event`.
    pub async fn calls(&self, function: &str, event: &str) -> Result<Vec<Call>, Failed> {
        let event: String = event.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let calls = self.chaos(Method::GET, &format!("/calls?function={function}&event={event}"), None).await?;
        serde_json::from_value(calls).map_err(|error| error.to_string())
    }

    async fn chaos(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failed> {
        let (status, answer) = self.local(method, &format!("/_local/chaos{path}"), body).await?;
        if status < 300 { Ok(answer) } else { Err(format!("/_local/chaos{path}: {status} {answer}")) }
    }
}

/// Calls `met` with the function and the fault of each line of a fault log.
pub fn count(log: &str, mut met: impl FnMut(&str, &str)) {
    for line in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if let (Some(function), Some(fault)) = (line["function"].as_str(), line["fault"].as_str()) {
            met(function, fault);
        }
    }
}
