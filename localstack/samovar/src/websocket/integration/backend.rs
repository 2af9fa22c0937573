//! The things that mapped integrations call: nothing, a function, a service of the stack, an address.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use reqwest::redirect::Policy;
use samovar_services::{Caller, Services};
use samovar_template::IntegrationRole;
use serde_json::{Value, json};

use super::form;
use super::request::{Request, value};
use crate::ids::gateway_id;
use crate::invoke::IntegrationError;
use crate::mapping::Scope;
use crate::websocket::Api;

/// API Gateway's limit on the answer of an integration.
const MAX_REPLY_BYTES: usize = 10 * 1024 * 1024;

/// The services and the client that integrations call.
#[derive(Debug, Clone)]
pub(crate) struct Backends {
    /// `None` only in tests that call none.
    pub services: Option<Arc<Services>>,
    pub http: reqwest::Client,
}

impl Default for Backends {
    fn default() -> Self {
        // Requests may have tokens, so no redirect is followed. It is the answer.
        let http = reqwest::Client::builder().redirect(Policy::none()).build().expect("a client without settings");
        Self { services: None, http }
    }
}

/// The answer of what was called.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The error message of a function, by which a response is selected.
    pub message: Option<String>,
    /// The error to report if no response is for it.
    pub error: Option<IntegrationError>,
}

impl Reply {
    fn new(status: u16, body: Vec<u8>) -> Self {
        Self { status, headers: HeaderMap::new(), body, message: None, error: None }
    }
}

/// Whether the stack has the service, and integrations can call this of it.
pub(crate) fn is_served(service: &str, action: Option<&str>) -> bool {
    match (service, action) {
        ("dynamodb", Some(_)) | ("events", Some("PutEvents")) => true,
        // The action is in the form.
        ("sqs", None | Some("SendMessage")) => true,
        _ => false,
    }
}

/// The request template of a mock gives the status. Its body is that of no backend, so it is empty.
pub(super) fn mock(request: &Request) -> Result<Reply, IntegrationError> {
    let made: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let status = match &made["statusCode"] {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64().and_then(|status| u16::try_from(status).ok()),
    };
    let status = status.filter(|status| (100..600).contains(status)).ok_or_else(|| {
        let message = "The request template of a MOCK integration must make JSON with a statusCode, such as \
                       {\"statusCode\": 200}";
        IntegrationError::Mapping(message.to_owned())
    })?;
    Ok(Reply::new(status, Vec::new()))
}

/// Invokes a function with what the template has made. An integration of this type knows no statuses.
pub(super) async fn function(api: &Arc<Api>, function: &str, request: Request) -> Result<Reply, IntegrationError> {
    if serde_json::from_str::<serde::de::IgnoredAny>(&request.body).is_err() {
        return Err(IntegrationError::Mapping(format!("{function} takes only JSON, which the request is not")));
    }
    let (invoker, name, payload) = (Arc::clone(&api.invoker), function.to_owned(), request.body.into());
    // On its own, so that it goes on if the time is over.
    let running = api.tasks.spawn(async move { invoker.invoke(&name, payload).await });
    match running.await {
        Ok(Ok(answer)) => Ok(Reply::new(200, answer.to_vec())),
        Ok(Err(IntegrationError::FunctionError { function, message })) => {
            let mut reply = Reply::new(200, json!({ "errorMessage": message }).to_string().into_bytes());
            reply.message = Some(message.clone());
            reply.error = Some(IntegrationError::FunctionError { function, message });
            Ok(reply)
        }
        Ok(Err(error)) => Err(error),
        Err(failed) => Err(IntegrationError::Host(failed.to_string())),
    }
}

/// Calls a service as the integration's role.
pub(super) async fn service(
    api: &Arc<Api>,
    (service, action, path): (&str, Option<&str>, &str),
    role: &IntegrationRole,
    request: Request,
) -> Result<Reply, IntegrationError> {
    let services = api.backends.services.as_ref().filter(|_| is_served(service, action));
    let Some(services) = services else {
        return Err(IntegrationError::Host(format!("The service {service} is not here")));
    };
    let caller = Caller { function: role.name.clone(), instance: None };
    let wrong = |why: String| IntegrationError::Mapping(format!("{service}: {why}"));
    let (target, body, form) = match service {
        "sqs" => match request.headers.get("x-amz-target").and_then(|target| target.to_str().ok()) {
            Some(target) => (target.to_owned(), request.body, None),
            None => {
                let (operation, made) = form::request(&request.body, path).map_err(wrong)?;
                (format!("AmazonSQS.{operation}"), made.to_string(), Some(operation))
            }
        },
        "events" => (format!("AWSEvents.{}", action.unwrap_or_default()), request.body, None),
        _ => (format!("DynamoDB_20120810.{}", action.unwrap_or_default()), request.body, None),
    };
    let services = Arc::clone(services);
    let running = api.tasks.spawn(async move { services.call(caller, &target, body.into()).await });
    let answer = running.await.map_err(|failed| IntegrationError::Host(failed.to_string()))?;
    let Some(answer) = answer else {
        return Err(IntegrationError::Host(format!("{service} broke the connection")));
    };
    let body = match form {
        Some(operation) => {
            form::answer(&operation, answer.status, &answer.body, &gateway_id()).to_string().into_bytes()
        }
        None => answer.body,
    };
    let mut reply = Reply::new(answer.status, body);
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            reply.headers.insert(HeaderName::from_static(name), value);
        }
    }
    Ok(reply)
}

/// Sends the request to an address, in which stage variables and path parameters have been replaced. Errors have the
/// address as the template has it, because the values may be secret.
pub(super) async fn http(
    api: &Arc<Api>,
    method: &str,
    written: &str,
    request: Request,
    scope: &Scope,
) -> Result<Reply, IntegrationError> {
    let url = address(written, &request, scope).parse();
    let mut url: reqwest::Url = url.map_err(|error| {
        IntegrationError::Host(format!("{written} is no address with the values of this request: {error}"))
    })?;
    url.query_pairs_mut().extend_pairs(&request.query);
    let method = if method == "ANY" { Method::POST } else { method.parse().unwrap_or(Method::POST) };
    let failed =
        |error: reqwest::Error| IntegrationError::Host(format!("{written} can't be reached: {}", error.without_url()));
    let mut sending = api.backends.http.request(method, url).headers(request.headers.clone());
    if !request.headers.contains_key(CONTENT_TYPE) {
        sending = sending.header(CONTENT_TYPE, "application/json");
    }
    let mut response = sending.body(request.body).send().await.map_err(failed)?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_REPLY_BYTES {
            return Err(IntegrationError::Host(format!("{written} answers with more than {MAX_REPLY_BYTES} bytes")));
        }
    }
    Ok(Reply { headers, ..Reply::new(status, body) })
}

fn address(url: &str, request: &Request, scope: &Scope) -> String {
    let mut address = String::new();
    let mut rest = url;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        let (before, found) = match before.strip_suffix('$') {
            Some(before) => (before, value(name, scope)),
            None => (before, request.path.get(name).cloned()),
        };
        address.push_str(before);
        address.push_str(&found.unwrap_or_default());
        rest = after;
    }
    address + rest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_address_has_stage_variables_and_path_parameters() {
        let path = BTreeMap::from([("id".to_owned(), "7".to_owned())]);
        let request = Request { path, ..Request::default() };
        let scope = Scope {
            stage_variables: BTreeMap::from([("host".to_owned(), "a.example".to_owned())]),
            ..Scope::default()
        };
        for (url, expected) in [
            ("https://${stageVariables.host}/items/{id}", "https://a.example/items/7"),
            ("https://b.example/{none}x", "https://b.example/x"),
            ("https://b.example/{open", "https://b.example/{open"),
        ] {
            assert_eq!(address(url, &request, &scope), expected);
        }
    }

    #[test]
    fn a_mock_has_the_status_of_its_template() {
        let status =
            |body: &str| mock(&Request { body: body.to_owned(), ..Request::default() }).map(|reply| reply.status).ok();
        assert_eq!(status(r#"{"statusCode":200}"#), Some(200));
        assert_eq!(status(r#"{"statusCode":"403"}"#), Some(403));
        for body in ["", "{}", "200", r#"{"statusCode":7}"#, r#"{"statusCode":"x"}"#] {
            assert_eq!(status(body), None, "{body}");
        }
    }
}
