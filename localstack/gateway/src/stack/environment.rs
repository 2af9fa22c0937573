//! A function's environment: the template's variables, and where the services are here.
//!
//! Functions use the plain SDK, which reads endpoints and credentials from the environment, so nothing in them has to know
//! that they do not run on AWS. An address of one of the template's own APIs is replaced by the local one.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use crate::aws;
use crate::template::{Function, Template};

pub(super) fn of(
    function: &Function,
    template: &Template,
    internal_url: &str,
    region: &str,
) -> BTreeMap<String, String> {
    let services = format!("{internal_url}{}", aws::PATH);
    let mut environment = BTreeMap::from([
        ("AWS_ACCESS_KEY_ID".to_owned(), aws::access_key(&function.name)),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), "local".to_owned()),
        ("AWS_SESSION_TOKEN".to_owned(), "local".to_owned()),
        ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), services.clone()),
        ("AWS_ENDPOINT_URL_SQS".to_owned(), services),
    ]);
    // Their output is shown on our standard error, and coloured only where that is a terminal.
    if !std::io::stderr().is_terminal() {
        environment.insert("NO_COLOR".to_owned(), "1".to_owned());
    }
    if let [api] = template.websocket_apis.as_slice() {
        let management = format!("{internal_url}/{}", api.stage);
        environment.insert("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI".to_owned(), management);
    }
    let api_ids = own_apis(template);
    for (name, value) in &function.environment {
        environment.insert(name.clone(), localize(value, &api_ids, internal_url, region));
    }
    environment
}

/// What functions that run elsewhere need, as a `.env` file: the variables of all of them, with the public address.
pub(super) fn dotenv(template: &Template, url: &str, region: &str) -> String {
    let mut all = BTreeMap::from([("AWS_REGION".to_owned(), region.to_owned())]);
    for function in &template.functions {
        all.extend(of(function, template, url, region));
    }
    all.insert("AWS_ACCESS_KEY_ID".to_owned(), aws::access_key("invoke-endpoint"));
    all.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// The ids of all APIs, WebSocket and HTTP: the same listeners have them, and a path says which is meant.
fn own_apis(template: &Template) -> Vec<&str> {
    let websocket = template.websocket_apis.iter().map(|api| api.api_id.as_str());
    websocket.chain(template.http_apis.iter().map(|api| api.api_id.as_str())).collect()
}

fn localize(value: &str, api_ids: &[&str], internal_url: &str, region: &str) -> String {
    let mut value = value.to_owned();
    for api_id in api_ids {
        let host = format!("{api_id}.execute-api.{region}.amazonaws.com");
        value = value.replace(&format!("https://{host}"), internal_url);
        value = value.replace(&format!("wss://{host}"), &internal_url.replacen("http", "ws", 1));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_an_own_api_becomes_the_local_one_and_others_stay() {
        let localize = |value: &str| localize(value, &["api", "httpapi"], "http://127.0.0.1:1", "us-east-1");
        assert_eq!(localize("https://api.execute-api.us-east-1.amazonaws.com/ws"), "http://127.0.0.1:1/ws");
        assert_eq!(localize("wss://api.execute-api.us-east-1.amazonaws.com/ws"), "ws://127.0.0.1:1/ws");
        assert_eq!(localize("https://httpapi.execute-api.us-east-1.amazonaws.com"), "http://127.0.0.1:1");
        assert_eq!(localize("https://httpapi.execute-api.us-east-1.amazonaws.com/v1/a"), "http://127.0.0.1:1/v1/a");
        let other = "https://other.execute-api.us-east-1.amazonaws.com/ws";
        assert_eq!(localize(other), other);
    }
}
