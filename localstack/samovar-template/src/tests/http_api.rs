//! HTTP APIs and the events that are their routes.

use super::*;
use crate::{Authorization, Cors, HttpApi, HttpRoute, JwtAuthorizer};

/// The function `F` with these events on line 3, and the API `Api` on line 4.
fn template(events: &[&str], api: &str) -> String {
    let events: Vec<String> = events.iter().enumerate().map(|(at, event)| format!("E{at}: {event}")).collect();
    let function = function("F", &format!("Events: {{{}}}", events.join(", ")));
    with_resources(&format!("{function}  Api: {{Type: AWS::Serverless::HttpApi, Properties: {{{api}}}}}\n"))
}

fn event(properties: &str) -> String {
    format!("{{Type: HttpApi, Properties: {{ApiId: !Ref Api, {properties}}}}}")
}

fn api_of(source: &str) -> HttpApi {
    read(source).http_apis.remove(0)
}

const USERS: &str = "Users: {IdentitySource: $request.header.Authorization, AuthorizationScopes: [read], \
                     JwtConfiguration: {issuer: 'https://id.example', audience: [one, two]}}";

fn routes_with(events: &[&str], api: &str) -> Vec<HttpRoute> {
    let events: Vec<String> = events.iter().map(|properties| event(properties)).collect();
    api_of(&template(&events.iter().map(String::as_str).collect::<Vec<_>>(), api)).routes
}

#[test]
fn an_api_has_sams_defaults_and_events_are_its_routes() {
    let events = [event("Method: get, Path: '/pets/{id}', TimeoutInMillis: 50"), event("")];
    let source = template(&[&events[0], &events[1]], "");
    let api = api_of(&source);
    assert_eq!((api.api_id.as_str(), api.name.as_str(), api.stage.as_str()), ("api", "Api", "$default"));
    assert!(api.cors.is_none() && api.authorizers.is_empty() && api.stage_variables.is_empty());
    let seen: Vec<_> = api.routes.iter().map(|route| (route.key.to_string(), route.integration_timeout)).collect();
    let (short, longest) = (Duration::from_millis(50), Duration::from_secs(30));
    assert_eq!(seen, [("GET /pets/{id}".to_owned(), short), ("$default".to_owned(), longest)]);
    assert!(api.routes.iter().all(|route| route.function == "f" && route.authorization.is_none()));
}

#[test]
fn every_understood_property_is_in_the_model() {
    let cors = "CorsConfiguration: {AllowOrigins: ['https://a.example'], AllowMethods: [GET], AllowHeaders: [x], \
                ExposeHeaders: [z], MaxAge: 60, AllowCredentials: true}";
    let ignored = "AccessLogSettings: {}, DefaultRouteSettings: {}, RouteSettings: {}, Description: d, Tags: {}, \
                   PropagateTags: true, FailOnWarnings: true, DisableExecuteApiEndpoint: true, Domain: {}";
    let auth = format!("Auth: {{Authorizers: {{{USERS}}}, DefaultAuthorizer: Users}}");
    let properties = format!("Name: n, StageName: v1, StageVariables: {{a: b, c: 1}}, {cors}, {auth}, {ignored}");
    let api = api_of(&template(
        &[&event("Path: /, Method: ANY, RouteSettings: {}, PayloadFormatVersion: '2.0'")],
        &properties,
    ));
    assert_eq!((api.name.as_str(), api.stage.as_str()), ("n", "v1"));
    assert_eq!(api.stage_variables, overrides(&[("a", "b"), ("c", "1")]));
    let expected = Cors {
        allow_origins: vec!["https://a.example".to_owned()],
        allow_methods: vec!["GET".to_owned()],
        allow_headers: vec!["x".to_owned()],
        expose_headers: vec!["z".to_owned()],
        max_age_seconds: Some(60),
        allow_credentials: true,
    };
    assert_eq!(api.cors, Some(expected));
    let expected = JwtAuthorizer {
        issuer: "https://id.example".to_owned(),
        audience: vec!["one".to_owned(), "two".to_owned()],
        identity_source: IdentitySource::Header("Authorization".to_owned()),
    };
    assert_eq!(api.authorizers["Users"], expected);
    let expected = Authorization { authorizer: "Users".to_owned(), scopes: vec!["read".to_owned()] };
    assert_eq!(
        (api.routes[0].key.to_string().as_str(), api.routes[0].authorization.as_ref()),
        ("ANY /", Some(&expected))
    );
}

#[test]
fn cors_and_audience_have_short_forms() {
    let cors = |value: &str| api_of(&template(&[], &format!("CorsConfiguration: {value}"))).cors;
    let all = Cors { allow_origins: vec!["*".to_owned()], ..Cors::default() };
    assert_eq!((cors("true"), cors("false")), (Some(all), None));
    assert_eq!(cors("{MaxAge: -1}").and_then(|cors| cors.max_age_seconds), Some(-1));
    let jwt =
        "{IdentitySource: $request.querystring.t, JwtConfiguration: {Issuer: 'https://id.example', Audience: one}}";
    let authorizers = api_of(&template(&[], &format!("Auth: {{Authorizers: {{A: {jwt}}}}}"))).authorizers;
    assert_eq!(authorizers["A"].audience, ["one"]);
    assert_eq!(authorizers["A"].identity_source, IdentitySource::QueryString("t".to_owned()));
}

#[test]
fn the_default_authorizer_applies_to_routes_without_one_of_their_own() {
    let others =
        "Others: {IdentitySource: $request.header.X, JwtConfiguration: {issuer: 'https://o.example', audience: o}}";
    let auth = format!("Auth: {{Authorizers: {{{USERS}, {others}}}, DefaultAuthorizer: Users}}");
    let events = [
        "Path: /a, Method: GET",
        "Path: /b, Method: GET, Auth: {Authorizer: NONE}",
        "Path: /c, Method: GET, Auth: {Authorizer: Others}",
        "Path: /d, Method: GET, Auth: {AuthorizationScopes: [write, admin]}",
        "Path: /e, Method: GET, Auth: {Authorizer: Others, AuthorizationScopes: [x]}",
        "Path: /f, Method: GET, Auth: {}",
    ];
    let seen = routes_with(&events, &auth).into_iter().map(|route| {
        let authorization = route.authorization?;
        Some((authorization.authorizer, authorization.scopes.join(" ")))
    });
    let some = |name: &str, scopes: &str| Some((name.to_owned(), scopes.to_owned()));
    let expected = [
        some("Users", "read"),
        None,
        some("Others", ""),
        some("Users", "write admin"),
        some("Others", "x"),
        some("Users", "read"),
    ];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
    // Without a default authorizer, only an event that names one has one.
    let auth = format!("Auth: {{Authorizers: {{{USERS}}}}}");
    let routes = routes_with(&["Path: /a, Method: GET", "Path: /b, Method: GET, Auth: {Authorizer: Users}"], &auth);
    assert!(routes[0].authorization.is_none() && routes[1].authorization.is_some());
}

#[test]
fn references_give_the_id_and_the_endpoint_that_it_has_on_aws() {
    let outputs =
        "Outputs:\n  A: {Value: !Ref Api}\n  B: {Value: !GetAtt Api.ApiEndpoint}\n  C: {Value: !GetAtt Api.ApiId}\n";
    let outputs = read(&format!("{}{outputs}", template(&[], ""))).outputs;
    let endpoint = "https://api.execute-api.eu-central-1.amazonaws.com";
    assert_eq!(outputs, overrides(&[("A", "api"), ("B", endpoint), ("C", "api")]));
}

#[test]
fn resources_that_sam_generates_for_an_api_have_no_value() {
    for (properties, stage) in [
        ("", "ApiApiGatewayDefaultStage"),
        ("StageName: $default", "ApiApiGatewayDefaultStage"),
        ("StageName: v1", "Apiv1Stage"),
        ("StageName: !Ref AWS::StackName", "ApiStage"),
    ] {
        let source = template(&[&event("Path: /, Method: GET")], properties);
        let alarm =
            format!("  A: {{Type: AWS::CloudWatch::Alarm, Properties: {{X: [!Ref {stage}, !Ref FE0Permission]}}}}\n");
        read(&format!("{source}{alarm}"));
        let queue = format!("  Q: {{Type: AWS::SQS::Queue, Properties: {{QueueName: !Ref {stage}}}}}\n");
        let message = format!("\"{stage}\" is a stage made by SAM, which is not run here, so it has no value");
        assert_problems(&format!("{source}{queue}"), &[(5, &message)]);
    }
}

#[test]
fn globals_are_merged_into_http_apis() {
    let globals = "Globals: {HttpApi: {CorsConfiguration: {AllowOrigins: ['https://a.example'], MaxAge: 1}, \
                   StageVariables: {a: b}}}\n";
    let source = template(&[], "CorsConfiguration: {MaxAge: 2}");
    let api = api_of(&source.replacen("Resources:", &format!("{globals}Resources:"), 1));
    let cors = api.cors.expect("of the globals");
    assert_eq!((cors.allow_origins.len(), cors.max_age_seconds), (1, Some(2)));
    assert_eq!(api.stage_variables, overrides(&[("a", "b")]));
    let source = source.replacen("Resources:", "Globals: {HttpApi: {Name: a}}\nResources:", 1);
    assert_problems(&source, &[(2, "Globals.HttpApi cannot have \"Name\"")]);
}

#[test]
fn an_event_that_cannot_be_deployed_or_run_here_is_an_error() {
    for (properties, message) in [
        ("Path: /a", "An event of the type HttpApi.Path needs Method beside it"),
        ("Method: GET", "An event of the type HttpApi.Method needs Path beside it"),
        ("Path: a, Method: GET", "An event of the type HttpApi.Path is \"a\", but a path must begin with a slash"),
        (
            "Path: '/{p+}/a', Method: GET",
            "An event of the type HttpApi.Path is \"/{p+}/a\", but a path must end with its greedy variable {p+}",
        ),
        ("Path: /a, Method: FETCH", "An event of the type HttpApi.Method is \"FETCH\", but AWS takes ANY, DELETE"),
        ("TimeoutInMillis: 30001", "An event of the type HttpApi.TimeoutInMillis is 30001, but AWS takes 50 to 30000"),
        ("PayloadFormatVersion: '1.1'", "An event of the type HttpApi.PayloadFormatVersion is \"1.1\", but AWS takes"),
        (
            "Auth: {Authorizer: AWS_IAM}",
            "An event of the type HttpApi.Auth has the Authorizer AWS_IAM, which AWS takes only",
        ),
        ("Stage: a", "An event of the type HttpApi does not have the property \"Stage\""),
        (
            "Auth: {Authorizer: NONE}",
            "An event of the type HttpApi.Auth has the Authorizer NONE, which AWS takes only where",
        ),
        (
            "Auth: {Authorizer: Users}",
            "An event of the type HttpApi.Auth has the Authorizer \"Users\", which its API does not",
        ),
        ("Auth: {AuthorizationScopes: [a]}", "An event of the type HttpApi.Auth needs an Authorizer"),
        ("Auth: {Scopes: [a]}", "Auth of an event of the type HttpApi does not have the property \"Scopes\""),
    ] {
        let source = template(&[&event(properties)], "");
        let shown = error(&source);
        assert!(shown.contains(&format!("infra/t.yaml:3: {message}")), "{properties}: {shown}");
    }
}

#[test]
fn an_event_names_its_api() {
    let source = template(&["{Type: HttpApi, Properties: {Path: /, Method: GET}}", "{Type: HttpApi}"], "");
    let apis = read(&source).http_apis;
    assert!(apis[0].routes.is_empty(), "no event names Api");
    assert_eq!((apis[1].logical_id.as_str(), apis[1].routes.len()), ("ServerlessHttpApi", 2), "the one that SAM makes");
    let source = template(&["{Type: HttpApi, Properties: {ApiId: !Ref F}}"], "");
    assert_problems(&source, &[(3, "An event of the type HttpApi.ApiId is \"local-F\", which is not an HTTP API")]);
}

#[test]
fn two_events_cannot_have_the_same_route() {
    let events = ["Path: '/a/{x}', Method: GET", "Path: '/a/{y}', Method: get"].map(event);
    let message = "Another event already has the route GET /a/{y} of Api";
    assert_problems(&template(&[&events[0], &events[1]], ""), &[(3, message)]);
    assert_problems(
        &template(&[&event(""), &event("")], ""),
        &[(3, "Another event already has the route $default of Api")],
    );
    // Of another function too, and not of another API.
    let more = "  Other: {Type: AWS::Serverless::HttpApi}\n";
    let second = function("G", &format!("Events: {{E: {}}}", event("")));
    assert_problems(
        &format!("{}{second}", template(&[&event("")], "")),
        &[(5, "Another event already has the route $default")],
    );
    let second = second.replace("!Ref Api", "!Ref Other");
    assert_eq!(read(&format!("{}{second}{more}", template(&[&event("")], ""))).http_apis.len(), 2);
}

#[test]
fn an_api_that_cannot_be_deployed_or_run_here_is_an_error() {
    let jwt = |properties: &str| format!("Auth: {{Authorizers: {{A: {{{properties}}}}}}}");
    let configuration = "JwtConfiguration: {issuer: 'https://id.example', audience: [a]}";
    let source = "IdentitySource: $request.header.X";
    for (properties, message) in [
        ("Definition: {}".to_owned(), "AWS::Serverless::HttpApi does not have the property \"Definition\""),
        ("StageName: a b".to_owned(), "AWS::Serverless::HttpApi.StageName is \"a b\", but AWS takes $default, or"),
        ("StageVariables: [a]".to_owned(), "StageVariables must be a map, but is a list"),
        (
            "Auth: {EnableIamAuthorizer: yes!}".to_owned(),
            "AWS::Serverless::HttpApi.Auth.EnableIamAuthorizer must be true or false",
        ),
        (
            "Auth: {DefaultAuthorizer: A}".to_owned(),
            "AWS::Serverless::HttpApi.Auth.DefaultAuthorizer is \"A\", which is not",
        ),
        (
            jwt("FunctionArn: !GetAtt F.Arn"),
            "A Lambda authorizer needs the property \"AuthorizerPayloadFormatVersion\"",
        ),
        (jwt(source), "A JWT authorizer needs the property \"JwtConfiguration\""),
        (jwt(configuration), "A JWT authorizer needs the property \"IdentitySource\""),
        (
            jwt(&format!("{configuration}, {source}, Identity: {{}}")),
            "A JWT authorizer does not have the property \"Identity\"",
        ),
        (
            jwt(&format!("{configuration}, IdentitySource: $context.a")),
            "A JWT authorizer.IdentitySource is \"$context.a\", which is not $request.header.x or",
        ),
        (
            jwt(&format!("JwtConfiguration: {{audience: a}}, {source}")),
            "JwtConfiguration needs the property \"issuer\"",
        ),
        (
            jwt(&format!("JwtConfiguration: {{issuer: id.example, audience: a}}, {source}")),
            "JwtConfiguration.issuer is \"id.example\", which is not a URL",
        ),
        (
            jwt(&format!("JwtConfiguration: {{issuer: 'https://id.example', audience: []}}, {source}")),
            "JwtConfiguration.audience is empty",
        ),
        ("CorsConfiguration: '*'".to_owned(), "AWS::Serverless::HttpApi.CorsConfiguration must be true or false"),
        (
            "CorsConfiguration: {AllowOrigin: a}".to_owned(),
            "CorsConfiguration does not have the property \"AllowOrigin\"",
        ),
        (
            "CorsConfiguration: {AllowOrigins: [a.example]}".to_owned(),
            "CorsConfiguration.AllowOrigins has \"a.example\"",
        ),
        (
            "CorsConfiguration: {AllowOrigins: ['https://a/']}".to_owned(),
            "CorsConfiguration.AllowOrigins has \"https://a/\"",
        ),
        (
            "CorsConfiguration: {MaxAge: 86401}".to_owned(),
            "CorsConfiguration.MaxAge is 86401, but AWS takes 0 to 86400",
        ),
        (
            "CorsConfiguration: {AllowOrigins: ['*'], AllowCredentials: true}".to_owned(),
            "CorsConfiguration.AllowCredentials cannot be true where AllowOrigins is * or not set",
        ),
    ] {
        assert_problems(&template(&[], &properties), &[(4, message)]);
    }
}

#[test]
fn a_mistake_in_an_api_is_not_reported_for_its_routes() {
    let auth =
        "Auth: {Authorizers: {A: {FunctionArn: x, AuthorizerPayloadFormatVersion: '2.0'}}, DefaultAuthorizer: A}";
    let source = template(&[&event("Path: /, Method: GET, Auth: {Authorizer: A}")], auth);
    assert_problems(&source, &[(4, "A Lambda authorizer.FunctionArn is \"x\", which is not the Arn of a function")]);
}

#[test]
fn two_apis_whose_names_differ_only_in_case_are_an_error() {
    let websocket = "  API: {Type: AWS::Serverless::WebSocketApi, \
                     Properties: {RouteSelectionExpression: $request.body.a, \
                     Routes: {a: {FunctionArn: !GetAtt F.Arn}}}}\n";
    let source = format!("{}{websocket}", template(&[], ""));
    assert_problems(&source, &[(4, "Another API differs from Api only in upper and lower case")]);
}
