//! A function's environment: the template's variables, and where the services are here.
//!
//! Functions use the plain SDK, which reads endpoints and credentials from the environment, so nothing in them has to know
//! that they do not run on AWS. An address of one of the template's own APIs is replaced by the local one, and so is S3's
//! regional endpoint: by the public one, because it is named where clients of the functions are sent (presigned URLs).

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use crate::addresses::Addresses;
use samovar_template::{Function, Template};

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
    let services = format!("{internal_url}{}", samovar_services::PATH);
    let mut environment = BTreeMap::from([
        ("AWS_ACCESS_KEY_ID".to_owned(), samovar_services::access_key(&function.name)),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), samovar_services::SECRET_KEY.to_owned()),
        ("AWS_SESSION_TOKEN".to_owned(), samovar_services::SESSION_TOKEN.to_owned()),
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
    let addresses = Addresses::of(template, s3.public, region);
    for (name, value) in &function.environment {
        environment.insert(name.clone(), addresses.localize(value, internal_url));
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
    all.insert("AWS_ACCESS_KEY_ID".to_owned(), samovar_services::access_key(INVOKE_ENDPOINT));
    all.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}
