//! `/_local/state`: a view of the running stack for developers, as JSON. It contains the stack's own state, and the
//! part of the application's data that the template names (`Metadata.LocalState`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::bill::Metered;
use crate::clock::now_ms;
use crate::http_api;
use crate::rest_api;
use crate::websocket::Api;
use crate::websocket::connection::open_ms;
use samovar_host::{Host, Metric};
use samovar_services::Services;
use samovar_template::{LocalState, TableView};

#[derive(Debug)]
pub(crate) struct State {
    pub views: LocalState,
    pub apis: Vec<Arc<Api>>,
    pub http_apis: Vec<Arc<http_api::Api>>,
    pub rest_apis: Vec<Arc<rest_api::Api>>,
    pub services: Arc<Services>,
    /// `None` with an invoke endpoint: functions that run there are not visible here.
    pub host: Option<Host>,
}

impl State {
    pub(crate) async fn snapshot(&self) -> Result<Value> {
        let mut state = Map::new();
        for (name, value) in &self.views.parameters {
            state.insert(name.clone(), value.parse::<i64>().map_or_else(|_| json!(value), |number| json!(number)));
        }
        for (name, view) in &self.views.tables {
            state.insert(name.clone(), self.items(view).await?.into());
        }
        let connections: usize = self.apis.iter().map(|api| api.registry.len()).sum();
        state.insert("connections".into(), connections.into());
        let functions = self.host.as_ref().map(Host::state).unwrap_or_default();
        let in_flight: BTreeMap<_, _> = functions.iter().map(|(name, function)| (name, function.in_flight)).collect();
        state.insert("inFlight".into(), json!(in_flight));
        state.insert("functions".into(), json!(functions));
        state.insert("metrics".into(), json!(self.metrics()));
        state.insert("queues".into(), self.queues());
        let open = self.apis.iter().flat_map(|api| api.registry.all());
        let metered = Metered {
            meter: &self.services.meter,
            host: self.host.as_ref(),
            http_requests: self.http_apis.iter().map(|api| api.requests.load(Ordering::Relaxed)).sum(),
            rest_requests: self.rest_apis.iter().map(|api| api.requests.load(Ordering::Relaxed)).sum(),
            open_ms: open.map(|connection| open_ms(&connection)).sum(),
        };
        if let Some(permissions) = self.services.door().permissions() {
            state.insert("permissions".into(), json!({ "unused": permissions.unused() }));
        }
        state.insert("bill".into(), metered.bill());
        Ok(state.into())
    }

    /// As CloudWatch would have them. Those of queues (`AWS/SQS`) are of this moment, all others since the start.
    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = self.host.as_ref().map(Host::metrics).unwrap_or_default();
        for (name, queue) in self.services.queues.counts() {
            let of =
                |metric, value| Metric::of("AWS/SQS", metric, Some(("QueueName", name.as_str())), ("Maximum", value));
            metrics.extend([
                of("ApproximateNumberOfMessagesVisible", queue.visible as f64),
                of("ApproximateNumberOfMessagesNotVisible", queue.in_flight as f64),
                of("ApproximateNumberOfMessagesDelayed", queue.delayed as f64),
                // CloudWatch has whole seconds.
                of("ApproximateAgeOfOldestMessage", queue.oldest.unwrap_or_default().as_secs() as f64),
            ]);
        }
        metrics
    }

    fn queues(&self) -> Value {
        let counts = self.services.queues.counts();
        let dead = |name: &String| counts.get(name).map_or(0, |dead| dead.visible + dead.in_flight + dead.delayed);
        let queues = counts.iter().map(|(name, queue)| {
            let dead_lettered = queue.dead_letter_queue.as_ref().map_or(0, dead);
            let shown = json!({
                "visible": queue.visible,
                "inFlight": queue.in_flight,
                "delayed": queue.delayed,
                "deadLettered": dead_lettered,
            });
            (name.clone(), shown)
        });
        queues.collect::<Map<_, _>>().into()
    }

    async fn items(&self, view: &TableView) -> Result<Vec<Value>> {
        let mut shown = Vec::new();
        let mut start = Value::Null;
        loop {
            let mut request = json!({
                "TableName": view.table,
                "ConsistentRead": true,
                "FilterExpression": "begins_with(pk, :prefix)",
                "ExpressionAttributeValues": { ":prefix": { "S": view.key_begins_with } },
            });
            if !start.is_null() {
                request["ExclusiveStartKey"] = start;
            }
            let page = self.services.dynamodb.expect("Scan", &request).await?;
            shown.extend(page["Items"].as_array().into_iter().flatten().filter_map(|item| show(view, item)));
            start = page["LastEvaluatedKey"].clone();
            if start.is_null() {
                return Ok(shown);
            }
        }
    }
}

/// An item as its view shows it, or `None` if it has expired.
fn show(view: &TableView, item: &Value) -> Option<Value> {
    let number = |attribute: &str| item[attribute]["N"].as_str()?.parse::<i64>().ok();
    if let Some(expires) = &view.expires
        && number(expires).is_none_or(|at| at <= now_ms())
    {
        return None;
    }
    let value = |attribute: &String| match number(attribute) {
        Some(at) if view.expires.as_ref() == Some(attribute) => rfc3339(at),
        Some(number) => number.into(),
        None => item[attribute]["S"].clone(),
    };
    let fields = view.fields.iter().map(|(name, attribute)| (name.clone(), value(attribute)));
    Some(Value::Object(fields.collect()))
}

fn rfc3339(epoch_ms: i64) -> Value {
    jiff::Timestamp::from_millisecond(epoch_ms).map_or(Value::Null, |time| format!("{time:.3}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_shown_under_the_views_names_until_its_time_is_over() {
        let fields = BTreeMap::from([("slot".into(), "slot_no".into()), ("endsAt".into(), "expires_at".into())]);
        let expires = Some("expires_at".into());
        let view = TableView { table: "t".into(), key_begins_with: "slot#".into(), expires, fields };
        let item = |expires_at: &str| json!({ "slot_no": { "N": "7" }, "expires_at": { "N": expires_at } });
        assert_eq!(
            show(&view, &item("4102444800000")),
            Some(json!({ "slot": 7, "endsAt": "2100-01-01T00:00:00.000Z" }))
        );
        assert_eq!(show(&view, &item("1000")), None);
    }
}
