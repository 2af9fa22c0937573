//! A function's environment: the template's variables, and where the services are here.
//!
//! Functions use the plain SDK, which reads endpoints and credentials from the environment, so nothing in them has to know
//! that they do not run on AWS. An address of one of the template's own APIs is replaced by the local one, and so is S3's
//! regional endpoint: by the public one, because it is named where clients of the functions are sent (presigned URLs).

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use crate::aws;
use crate::template::{Function, Template};

/// The key of functions that run elsewhere.
pub(super) const INVOKE_ENDPOINT: &str = "invoke-endpoint";

/// Where S3 is: for a function's own calls, and for the clients that it sends there.
#[derive(Debug)]
pub(super) struct S3Addresses<'a> {
    pub(super) own: &'a str,
    pub(super) public: &'a str,
}

pub(super) fn of(
    function: &Function,
    template: &Template,
    internal_url: &str,
    s3: &S3Addresses<'_>,
    region: &str,
) -> BTreeMap<String, String> {
    let services = format!("{internal_url}{}", aws::PATH);
    let mut environment = BTreeMap::from([
        ("AWS_ACCESS_KEY_ID".to_owned(), aws::access_key(&function.name)),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), aws::SECRET_KEY.to_owned()),
        ("AWS_SESSION_TOKEN".to_owned(), aws::SESSION_TOKEN.to_owned()),
        ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), services.clone()),
        ("AWS_ENDPOINT_URL_S3".to_owned(), s3.own.to_owned()),
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
        environment.insert(name.clone(), localize(value, &api_ids, internal_url, s3, region));
    }
    environment
}

/// What the template lets through of our own environment: for the functions that run here, and shown to nobody.
#[allow(clippy::disallowed_methods, reason = "the one place where it is let through")]
pub(super) fn passed_on(function: &Function) -> impl Iterator<Item = (String, String)> {
    function.local_environment.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)))
}

/// What functions that run elsewhere need, as a `.env` file: the variables of all of them, with the public address.
pub(super) fn dotenv(template: &Template, url: &str, s3: &S3Addresses<'_>, region: &str) -> String {
    let mut all = BTreeMap::from([("AWS_REGION".to_owned(), region.to_owned())]);
    for function in &template.functions {
        all.extend(of(function, template, url, s3, region));
    }
    all.insert("AWS_ACCESS_KEY_ID".to_owned(), aws::access_key(INVOKE_ENDPOINT));
    all.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// The ids of all APIs, WebSocket and HTTP: the same listeners have them, and a path says which is meant.
fn own_apis(template: &Template) -> Vec<&str> {
    let websocket = template.websocket_apis.iter().map(|api| api.api_id.as_str());
    websocket.chain(template.http_apis.iter().map(|api| api.api_id.as_str())).collect()
}

fn localize(value: &str, api_ids: &[&str], internal_url: &str, s3: &S3Addresses<'_>, region: &str) -> String {
    let mut value = value.replace(&format!("https://s3.{region}.amazonaws.com"), s3.public);
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

    const S3: S3Addresses<'_> = S3Addresses { own: "http://127.0.0.1:1", public: "http://127.0.0.1:2" };

    #[test]
    fn the_regional_endpoint_of_s3_becomes_the_public_address() {
        let localize = |value: &str| localize(value, &[], "http://127.0.0.1:1", &S3, "us-east-1");
        assert_eq!(localize("https://s3.us-east-1.amazonaws.com"), "http://127.0.0.1:2");
        assert_eq!(localize("https://s3.us-east-1.amazonaws.com/media/a"), "http://127.0.0.1:2/media/a");
        for other in ["https://s3.eu-west-1.amazonaws.com", "https://media.s3.us-east-1.amazonaws.com"] {
            assert_eq!(localize(other), other);
        }
    }

    #[test]
    fn an_address_of_an_own_api_becomes_the_local_one_and_others_stay() {
        let localize = |value: &str| localize(value, &["api", "httpapi"], "http://127.0.0.1:1", &S3, "us-east-1");
        assert_eq!(localize("https://api.execute-api.us-east-1.amazonaws.com/ws"), "http://127.0.0.1:1/ws");
        assert_eq!(localize("wss://api.execute-api.us-east-1.amazonaws.com/ws"), "ws://127.0.0.1:1/ws");
        assert_eq!(localize("https://httpapi.execute-api.us-east-1.amazonaws.com"), "http://127.0.0.1:1");
        assert_eq!(localize("https://httpapi.execute-api.us-east-1.amazonaws.com/v1/a"), "http://127.0.0.1:1/v1/a");
        let other = "https://other.execute-api.us-east-1.amazonaws.com/ws";
        assert_eq!(localize(other), other);
    }
}
