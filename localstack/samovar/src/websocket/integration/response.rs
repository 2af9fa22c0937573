//! Maps the answer of an integration by its integration responses.

use regex_lite::Regex;
use samovar_template::{IntegrationResponse, MappedIntegration};

use super::backend::Reply;
use super::request::{DEFAULT, value};
use crate::invoke::IntegrationError;
use crate::mapping::{self, Scope};
use crate::websocket::answer::Answer;

/// The answer to the client: the reply itself, or what the template of the selected response makes of it.
pub(super) fn map(mapped: &MappedIntegration, reply: Reply, request: Scope) -> Result<Answer, IntegrationError> {
    let Some(response) = select(&mapped.responses, &reply)? else {
        let is_proxy = matches!(mapped.backend, samovar_template::Backend::Http { proxy: true, .. });
        return match reply.error {
            Some(error) => Err(error),
            None if is_proxy || reply.status < 400 => Ok(answer(reply.status, reply.body)),
            // A handshake is refused with the status of the reply.
            None if request.body.is_empty() => Ok(answer(reply.status, Vec::new())),
            None => {
                Err(IntegrationError::Mapping(format!("No integration response is for the status {}", reply.status)))
            }
        };
    };
    let body = String::from_utf8_lossy(&reply.body).into_owned();
    let key = response.template_selection.as_ref().map(|selection| {
        selection.evaluate(|name| match name.strip_prefix("integration.response.") {
            Some("statuscode") => Some(reply.status.to_string()),
            Some(rest) => {
                let header = rest.strip_prefix("header.").or_else(|| rest.strip_prefix("multivalueheader."))?;
                Some(reply.headers.get(header)?.to_str().ok()?.to_owned())
            }
            None => value(name, &request),
        })
    });
    let key = key.as_deref().unwrap_or(DEFAULT);
    let Some(template) = response.templates.get(key).or_else(|| response.templates.get(DEFAULT)) else {
        return Ok(answer(reply.status, reply.body));
    };
    let scope = Scope { body, ..request };
    let wrong = |problem| IntegrationError::Mapping(format!("The response template: {problem}"));
    Ok(answer(reply.status, mapping::render(template, &scope).map_err(wrong)?.into_bytes()))
}

fn answer(status: u16, body: Vec<u8>) -> Answer {
    Answer { status: Some(status), body: Some(body).filter(|body| !body.is_empty()), subprotocol: None }
}

/// The response whose pattern has the status, or the error message of a function; otherwise `$default`.
fn select<'r>(
    responses: &'r [IntegrationResponse],
    reply: &Reply,
) -> Result<Option<&'r IntegrationResponse>, IntegrationError> {
    let subject = reply.message.clone().unwrap_or_else(|| reply.status.to_string());
    for response in responses.iter().filter(|response| response.key != DEFAULT) {
        let key = &response.key;
        let pattern = key.strip_prefix('/').and_then(|key| key.strip_suffix('/')).unwrap_or(key);
        let pattern = Regex::new(&format!("^(?s:{pattern})$"))
            .map_err(|error| IntegrationError::Mapping(format!("The IntegrationResponseKey {key}: {error}")))?;
        if pattern.is_match(&subject) {
            return Ok(Some(response));
        }
    }
    Ok(responses.iter().find(|response| response.key == DEFAULT))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::{HeaderMap, HeaderValue};
    use samovar_template::{Backend, Passthrough, Selection};

    use super::*;

    /// The key of a response, the selection of its template, and the templates by their keys.
    type Written<'a> = (&'a str, Option<&'a str>, &'a [(&'a str, &'a str)]);

    fn mapped(responses: &[Written<'_>]) -> MappedIntegration {
        let responses = responses.iter().map(|(key, selection, templates)| IntegrationResponse {
            key: (*key).to_owned(),
            templates: templates.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            template_selection: selection.map(|text| Selection::parse(text).expect("valid")),
        });
        MappedIntegration {
            backend: Backend::Mock,
            passthrough: Passthrough::WhenNoMatch,
            request_templates: BTreeMap::new(),
            template_selection: None,
            request_parameters: BTreeMap::new(),
            responses: responses.collect(),
        }
    }

    fn body(mapped: &MappedIntegration, status: u16, message: Option<&str>) -> Result<String, String> {
        let error = message.map(|text| IntegrationError::FunctionError { function: "f".into(), message: text.into() });
        let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))]);
        let reply = Reply { status, headers, body: b"[1]".to_vec(), message: message.map(str::to_owned), error };
        let scope = Scope { body: "{}".to_owned(), ..Scope::default() };
        let answer = map(mapped, reply, scope).map_err(|error| error.to_string())?;
        assert_eq!(answer.status, Some(status));
        Ok(String::from_utf8(answer.body.unwrap_or_default()).expect("text"))
    }

    #[test]
    fn a_status_or_a_message_selects_a_response_and_its_template() {
        let own = mapped(&[
            ("$default", None, &[("$default", "default $input.json('$[0]')")]),
            ("/4\\d\\d/", None, &[("$default", "client")]),
            ("/.*boom.*/", None, &[("$default", "failed")]),
        ]);
        for (status, message, expected) in [
            (200, None, "default 1"),
            (404, None, "client"),
            (500, None, "default 1"),
            (200, Some("a boom\nand more"), "failed"),
            (200, Some("other"), "default 1"),
        ] {
            assert_eq!(body(&own, status, message).as_deref(), Ok(expected), "{status} {message:?}");
        }
        let selected = mapped(&[(
            "$default",
            Some("${integration.response.statuscode} ${integration.response.header.content-type}"),
            &[("201 text/plain", "made")],
        )]);
        assert_eq!(body(&selected, 201, None).as_deref(), Ok("made"));
        assert_eq!(body(&selected, 200, None).as_deref(), Ok("[1]"), "without a template it stays");
    }

    #[test]
    fn without_a_response_only_a_success_is_passed_on() {
        let none = mapped(&[]);
        assert_eq!(body(&none, 200, None).as_deref(), Ok("[1]"));
        assert!(body(&none, 500, None).is_err_and(|why| why.contains("No integration response is for the status 500")));
        assert!(body(&none, 200, Some("boom")).is_err_and(|why| why.contains("f failed: boom")));
        let wrong = mapped(&[("/(/", None, &[])]);
        assert!(body(&wrong, 200, None).is_err_and(|why| why.contains("The IntegrationResponseKey /(/")));
        let template = mapped(&[("$default", None, &[("$default", "#end")])]);
        assert!(body(&template, 200, None).is_err_and(|why| why.contains("The response template: line 1")));
    }
}
