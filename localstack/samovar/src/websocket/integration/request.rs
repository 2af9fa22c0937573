//! The request to a mapped integration: its body, by a template, and its parameters.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use samovar_template::{MappedIntegration, Passthrough};
use serde_json::Value;

use crate::invoke::IntegrationError;
use crate::json_path;
use crate::mapping::{self, Params, Scope};

/// The key of the template for what has no template of its own.
pub(super) const DEFAULT: &str = "$default";
/// The key that consoles and samples use if there is no selection expression.
const JSON: &str = "application/json";

/// A request to an integration.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub body: String,
    pub headers: HeaderMap,
    pub query: Vec<(String, String)>,
    /// For `{name}` in an address.
    pub path: BTreeMap<String, String>,
}

/// The things that templates and parameters can refer to.
pub(in crate::websocket) fn scope(event: &Value, stage_variables: &BTreeMap<String, String>) -> Scope {
    let map = |name: &str| {
        let pairs = event.get(name).and_then(Value::as_object).into_iter().flatten();
        pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    };
    Scope {
        body: event.get("body").and_then(Value::as_str).unwrap_or_default().to_owned(),
        params: Params { path: BTreeMap::new(), querystring: map("queryStringParameters"), header: map("headers") },
        context: event["requestContext"].clone(),
        stage_variables: stage_variables.clone(),
    }
}

pub(super) fn make(mapped: &MappedIntegration, scope: &Scope) -> Result<Request, IntegrationError> {
    let key = mapped.template_selection.as_ref().map(|selection| selection.evaluate(|name| value(name, scope)));
    let templates = &mapped.request_templates;
    let template = match &key {
        Some(key) => templates.get(key).or_else(|| templates.get(DEFAULT)),
        None => templates.get(DEFAULT).or_else(|| templates.get(JSON)),
    };
    let body = match (template, mapped.passthrough) {
        (Some(template), _) => {
            let wrong = |problem| IntegrationError::Mapping(format!("The request template: {problem}"));
            mapping::render(template, scope).map_err(wrong)?
        }
        (None, Passthrough::WhenNoMatch) => scope.body.clone(),
        (None, Passthrough::WhenNoTemplates) if templates.is_empty() => scope.body.clone(),
        (None, _) => return Err(IntegrationError::NoTemplate),
    };
    let mut request = Request { body, ..Request::default() };
    for (target, source) in &mapped.request_parameters {
        parameter(&mut request, target, source, scope)?;
    }
    Ok(request)
}

/// Sets one of the `RequestParameters`. A source without a value sets nothing.
fn parameter(request: &mut Request, target: &str, source: &str, scope: &Scope) -> Result<(), IntegrationError> {
    let fixed = source.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    let Some(value) = fixed.map(str::to_owned).or_else(|| value(source, scope)) else { return Ok(()) };
    let wrong = || IntegrationError::Mapping(format!("The RequestParameter {target} can't have the value of {source}"));
    let Some((place, name)) = target.strip_prefix("integration.request.").and_then(|rest| rest.split_once('.')) else {
        return Err(wrong());
    };
    match place {
        "header" => {
            let name = HeaderName::try_from(name).map_err(|_| wrong())?;
            request.headers.insert(name, HeaderValue::from_str(&value).map_err(|_| wrong())?);
        }
        "querystring" => request.query.push((name.to_owned(), value)),
        "path" => _ = request.path.insert(name.to_owned(), value),
        _ => return Err(wrong()),
    }
    Ok(())
}

/// The value of a variable of a selection expression or of a parameter: `request.body.NAME`,
/// `route.request.header.NAME`, `context.NAME`, `stageVariables.NAME` and so on.
pub(in crate::websocket) fn value(name: &str, scope: &Scope) -> Option<String> {
    let name = name.strip_prefix("route.").unwrap_or(name);
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    if let Some(name) = name.strip_prefix("request.header.") {
        let mut headers = scope.params.header.iter();
        return headers.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
    }
    if let Some(name) = name.strip_prefix("request.querystring.") {
        return scope.params.querystring.get(name).cloned();
    }
    if let Some(name) = name.strip_prefix("stageVariables.") {
        return scope.stage_variables.get(name).cloned();
    }
    if let Some(path) = name.strip_prefix("context.") {
        return text(json_path::find(&scope.context, path)?.as_ref());
    }
    if name == "request.body" {
        return Some(scope.body.clone());
    }
    let body: Value = serde_json::from_str(&scope.body).ok()?;
    text(json_path::find(&body, name.strip_prefix("request.body.")?)?.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use samovar_template::{Backend, Selection};
    use serde_json::json;

    fn event() -> Value {
        json!({
            "body": r#"{"kind":"a","n":7}"#,
            "headers": { "X-User": "ada" },
            "queryStringParameters": { "q": "1" },
            "requestContext": { "connectionId": "c=", "identity": { "sourceIp": "::1" } },
        })
    }

    fn mapped(templates: &[(&str, &str)], selection: Option<&str>, passthrough: Passthrough) -> MappedIntegration {
        let texts = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        MappedIntegration {
            backend: Backend::Mock,
            passthrough,
            request_templates: texts(templates),
            template_selection: selection.map(|text| Selection::parse(text).expect("valid")),
            request_parameters: BTreeMap::new(),
            responses: Vec::new(),
        }
    }

    fn body(mapped: &MappedIntegration) -> Result<String, String> {
        let variables = BTreeMap::from([("v".to_owned(), "beta".to_owned())]);
        make(mapped, &scope(&event(), &variables)).map(|request| request.body).map_err(|error| error.to_string())
    }

    #[test]
    fn the_key_selects_a_template_and_passthrough_decides_without_one() {
        use Passthrough::{Never, WhenNoMatch, WhenNoTemplates};
        let frame = r#"{"kind":"a","n":7}"#;
        for (templates, selection, passthrough, expected) in [
            (&[("a", "A"), ("$default", "D")][..], Some("$request.body.kind"), Never, Ok("A")),
            (&[("b", "B"), ("$default", "D")], Some("$request.body.kind"), Never, Ok("D")),
            (&[("$default", "D")], Some("\\$default"), Never, Ok("D")),
            (&[("$default", "D")], None, Never, Ok("D")),
            (&[("application/json", "J")], None, Never, Ok("J")),
            (&[("7-c=", "N")], Some("${request.body.n}-${context.connectionId}"), Never, Ok("N")),
            (
                &[("ada1beta", "H")],
                Some("${request.header.x-user}${request.querystring.q}$stageVariables.v"),
                Never,
                Ok("H"),
            ),
            (&[("b", "B")], Some("$request.body.kind"), WhenNoMatch, Ok(frame)),
            (&[], Some("$request.body.kind"), WhenNoTemplates, Ok(frame)),
            (&[("b", "B")], Some("$request.body.kind"), WhenNoTemplates, Err("no request template for this request")),
            (&[], None, Never, Err("no request template for this request")),
            (&[("$default", "#if(")], None, Never, Err("The request template: line 1")),
        ] {
            let made = body(&mapped(templates, selection, passthrough));
            match expected {
                Ok(expected) => assert_eq!(made.as_deref(), Ok(expected), "{templates:?}"),
                Err(why) => assert!(made.is_err_and(|error| error.contains(why)), "{why}"),
            }
        }
    }

    #[test]
    fn parameters_become_headers_and_a_query() {
        let mut mapped = mapped(&[], None, Passthrough::WhenNoMatch);
        for (target, source) in [
            ("integration.request.header.X-Connection", "context.connectionId"),
            ("integration.request.header.Content-Type", "'text/plain'"),
            ("integration.request.header.X-None", "context.none"),
            ("integration.request.querystring.user", "route.request.header.x-user"),
            ("integration.request.path.ip", "context.identity.sourceIp"),
        ] {
            mapped.request_parameters.insert(target.to_owned(), source.to_owned());
        }
        let request = make(&mapped, &scope(&event(), &BTreeMap::new())).expect("a request");
        assert_eq!(request.headers["x-connection"], "c=");
        assert_eq!(request.headers["content-type"], "text/plain");
        assert!(!request.headers.contains_key("x-none"));
        assert_eq!(request.query, [("user".to_owned(), "ada".to_owned())]);
        assert_eq!(request.path["ip"], "::1");
        let token = json!({ "headers": { "X-Token": "secret\n" } });
        mapped.request_parameters =
            BTreeMap::from([("integration.request.header.a".to_owned(), "route.request.header.X-Token".to_owned())]);
        let error = make(&mapped, &scope(&token, &BTreeMap::new())).expect_err("no header's value").to_string();
        assert!(error.ends_with("can't have the value of route.request.header.X-Token"), "{error}");
        for (target, source) in
            [("integration.request.cookie.a", "'b'"), ("header.a", "'b'"), ("integration.request.header.a b", "'c'")]
        {
            mapped.request_parameters = BTreeMap::from([(target.to_owned(), source.to_owned())]);
            let error = make(&mapped, &scope(&event(), &BTreeMap::new())).expect_err(target);
            assert!(error.to_string().starts_with(&format!("The RequestParameter {target} can't have")), "{error}");
        }
    }
}
