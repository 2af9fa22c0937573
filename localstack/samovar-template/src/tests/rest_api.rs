//! REST APIs and the events that are their routes.

use super::*;
use crate::{RestApi, RestAuthorizer};

/// The function `F` with these events on line 3, and the API `Api` on line 4.
fn template(events: &[&str], api: &str) -> String {
    let events: Vec<String> = events.iter().enumerate().map(|(at, event)| format!("E{at}: {event}")).collect();
    let function = function("F", &format!("Events: {{{}}}", events.join(", ")));
    let api = format!("  Api: {{Type: AWS::Serverless::Api, Properties: {{StageName: v1, {api}}}}}\n");
    with_resources(&format!("{function}{api}"))
}

fn event(properties: &str) -> String {
    format!("{{Type: Api, Properties: {{RestApiId: !Ref Api, {properties}}}}}")
}

fn api_of(source: &str) -> RestApi {
    read(source).rest_apis.remove(0)
}

#[test]
fn an_api_has_sams_defaults_and_events_are_its_routes() {
    let events = [event("Method: get, Path: '/pets/{id}', TimeoutInMillis: 50"), event("Method: '*', Path: /pets/")];
    let api = api_of(&template(&[&events[0], &events[1]], "Variables: {a: b}, BinaryMediaTypes: [image~1png]"));
    assert_eq!((api.api_id.as_str(), api.name.as_str(), api.stage.as_str()), ("api", "Api", "v1"));
    assert_eq!(api.stage_variables, overrides(&[("a", "b")]));
    assert_eq!(api.binary_media_types, ["image/png"]);
    let seen: Vec<_> =
        api.routes.iter().map(|route| (route.key.to_string(), route.integration_timeout.as_millis())).collect();
    assert_eq!(seen, [("GET /pets/{id}".to_owned(), 50), ("ANY /pets".to_owned(), 29_000)]);
    assert!(api.routes.iter().all(|route| route.function == "f" && route.authorization.is_none()));
}

#[test]
fn events_without_an_api_get_one_with_the_globals() {
    let function = function("F", "Events: {E: {Type: Api, Properties: {Method: get, Path: /}}}");
    let globals = "Globals: {Api: {Cors: \"'*'\", BinaryMediaTypes: ['*/*']}}\nOutputs: {Url: {Value: !Sub \
                   'https://${ServerlessRestApi}.execute-api.${AWS::Region}.amazonaws.com/Prod/'}}\n";
    let source = with_resources(&function).replacen("Resources:", &format!("{globals}Resources:"), 1);
    let template = read(&source);
    let api = &template.rest_apis[0];
    assert_eq!((api.logical_id.as_str(), api.stage.as_str()), ("ServerlessRestApi", "Prod"));
    assert_eq!(api.cors.as_ref().map(|cors| cors.allow_origin.as_str()), Some("*"));
    assert_eq!(api.binary_media_types, ["*/*"]);
    let url = "https://serverlessrestapi.execute-api.eu-central-1.amazonaws.com/Prod/";
    assert_eq!(template.outputs, overrides(&[("Url", url)]));
}

#[test]
fn sam_makes_a_key_for_an_api_or_for_all() {
    let key = |more: &str, plan: &str| {
        let auth = format!("{more}Auth: {{UsagePlan: {{CreateUsagePlan: {plan}, Quota: {{Limit: 1, Period: DAY}}}}}}");
        api_of(&template(&[], &auth)).api_key
    };
    assert_eq!(key("", "PER_API").as_deref(), Some("local-api-key-of-api"));
    assert_eq!(key("", "SHARED").as_deref(), Some("local-api-key-of-serverless"));
    assert_eq!(key("ApiKeySourceType: HEADER, ", "SHARED").as_deref(), Some("local-api-key-of-serverless"));
    assert_eq!(key("", "NONE"), None);
    let message = "Api: API keys that authorizers return are not taken here (--allow-missing";
    assert_problems(&template(&[], "ApiKeySourceType: AUTHORIZER"), &[(4, message)]);
    let message = "UsagePlan.CreateUsagePlan cannot be \"x\" (known: NONE, PER_API, SHARED)";
    assert_problems(&template(&[], "Auth: {UsagePlan: {CreateUsagePlan: x}}"), &[(4, message)]);
}

#[test]
fn authorizers_are_of_four_kinds() {
    let authorizers = "Pool: {UserPoolArn: !GetAtt P.Arn, AuthorizationScopes: [read]}, \
                       Token: {FunctionArn: !GetAtt F.Arn, Identity: {Header: X, \
                       ValidationExpression: a+, ReauthorizeEvery: 0}}, \
                       Request: {FunctionArn: !GetAtt F.Arn, FunctionPayloadType: REQUEST, Identity: {Headers: [A], \
                       QueryStrings: [b], StageVariables: [c], Context: [d]}}";
    let auth = format!("Auth: {{DefaultAuthorizer: Pool, ApiKeyRequired: true, Authorizers: {{{authorizers}}}}}");
    let events = [
        event("Method: get, Path: /a"),
        event("Method: get, Path: /b, Auth: {Authorizer: NONE, ApiKeyRequired: false}"),
        event("Method: get, Path: /c, Auth: {Authorizer: Token}"),
        event("Method: get, Path: /d, Auth: {Authorizer: AWS_IAM}"),
        event("Method: get, Path: /e, Auth: {AuthorizationScopes: [write]}"),
    ];
    let pool = "  P: {Type: AWS::Cognito::UserPool}\n";
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let api = api_of(&format!("{}{pool}", template(&events, &auth)));
    let pools = vec!["arn:aws:cognito-idp:eu-central-1:000000000000:userpool/eu-central-1_P".to_owned()];
    assert_eq!(
        api.authorizers["Pool"],
        RestAuthorizer::Cognito { user_pools: pools, header: "Authorization".to_owned() }
    );
    let token = RestAuthorizer::Token {
        function: "f".to_owned(),
        header: "X".to_owned(),
        validation: Some("a+".to_owned()),
        cache: Duration::ZERO,
    };
    assert_eq!(api.authorizers["Token"], token);
    let texts = |text: &str| vec![text.to_owned()];
    let request = RestAuthorizer::Request {
        function: "f".to_owned(),
        headers: texts("A"),
        query_strings: texts("b"),
        stage_variables: texts("c"),
        context: texts("d"),
        cache: Duration::from_secs(300),
    };
    assert_eq!(api.authorizers["Request"], request);
    let seen: Vec<_> = api
        .routes
        .iter()
        .map(|route| {
            let needed = route.authorization.as_ref();
            (
                needed.map_or("", |needed| needed.authorizer.as_str()),
                needed.map_or(0, |n| n.scopes.len()),
                route.api_key_required,
            )
        })
        .collect();
    assert_eq!(seen, [("Pool", 1, true), ("", 0, false), ("Token", 0, true), ("AWS_IAM", 0, true), ("Pool", 1, true)]);
    let scopes = api.routes[4].authorization.as_ref().map(|needed| needed.scopes.clone());
    assert_eq!(scopes, Some(texts("write")));
}

#[test]
fn cors_is_text_or_a_map_with_the_quotes_of_mappings() {
    let cors = "Cors: {AllowOrigin: \"'https://a.example'\", AllowMethods: \"'GET'\", AllowHeaders: \"'X'\", \
                MaxAge: \"'600'\", AllowCredentials: true}";
    let cors = api_of(&template(&[], cors)).cors.expect("cors");
    let of = |text: Option<&String>| text.cloned().unwrap_or_default();
    let seen = [
        cors.allow_origin.clone(),
        of(cors.allow_methods.as_ref()),
        of(cors.allow_headers.as_ref()),
        of(cors.max_age.as_ref()),
    ];
    assert_eq!(seen, ["https://a.example", "GET", "X", "600"]);
    assert!(cors.allow_credentials);
    let cors = api_of(&template(&[], "Cors: {MaxAge: \"'1'\"}")).cors.expect("cors");
    assert_eq!((cors.allow_origin.as_str(), cors.max_age.as_deref()), ("*", Some("1")), "SAM's default");
}

#[test]
fn an_api_or_event_that_cannot_be_deployed_is_an_error() {
    for (event_properties, api, line, message) in [
        ("Method: fetch, Path: /", "", 3, "An event of the type Api.Method is \"fetch\", but AWS takes ANY"),
        ("Method: get, Path: a", "", 3, "An event of the type Api.Path is \"a\", but a path must begin with a slash"),
        ("Method: get", "", 3, "An event of the type Api needs the property \"Path\""),
        (
            "Method: get, Path: /, Auth: {Authorizer: A}",
            "",
            3,
            "An event of the type Api.Auth has the Authorizer \"A\", which its",
        ),
        ("Method: get, Path: /", "StageName: a b", 4, "AWS::Serverless::Api.StageName is \"a b\", but AWS takes"),
        (
            "Method: get, Path: /",
            "Auth: {DefaultAuthorizer: A}",
            4,
            "AWS::Serverless::Api.Auth.DefaultAuthorizer is \"A\", which",
        ),
        ("Method: get, Path: /", "Auth: {Authorizers: [a]}", 4, "Authorizers must be a map, but is a list"),
        (
            "Method: get, Path: /",
            "Cors: {AllowOrigins: a}",
            4,
            "Cors does not have the property \"AllowOrigins\": did you mean \"AllowOrigin\"",
        ),
        (
            "Method: get, Path: /",
            "Auth: {Authorizers: {A: {FunctionArn: !GetAtt F.Arn, FunctionPayloadType: REQUEST}}}",
            4,
            "A Lambda authorizer.FunctionPayloadType is REQUEST, which needs an Identity",
        ),
        (
            "Method: get, Path: /",
            "Auth: {Authorizers: {A: {FunctionArn: x}}}",
            4,
            "A Lambda authorizer.FunctionArn is \"x\", which is not the Arn of a function",
        ),
    ] {
        let source = template(&[&event(event_properties)], api);
        // A stage of its own replaces that of the template above.
        let source = if api.starts_with("StageName") { source.replace("StageName: v1, ", "") } else { source };
        assert_problems(&source, &[(line, message)]);
    }
    let twice = [event("Method: get, Path: '/{a}'"), event("Method: GET, Path: '/{b}'")];
    let message = "An event of the type Api.Path makes the route GET /{b} of Api, which another event has too";
    assert_problems(&template(&[&twice[0], &twice[1]], ""), &[(3, message)]);
    let other = template(&["{Type: Api, Properties: {RestApiId: x, Method: get, Path: /}}", "{Type: Api}"], "");
    let expected = [
        (3, "An event of the type Api.RestApiId is \"x\", which is not an AWS::Serverless::Api of this template"),
        (3, "An event.Properties is missing: an event of the type Api needs Path and Method"),
    ];
    assert_problems(&other, &expected);
    let unnamed = with_resources("  Api: {Type: AWS::Serverless::Api}\n");
    assert_problems(&unnamed, &[(3, "AWS::Serverless::Api needs the property \"StageName\"")]);
}
