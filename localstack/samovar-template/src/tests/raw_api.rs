//! APIs as CloudFormation writes them: an API, its stage, routes, integrations and authorizers.

use super::*;
use crate::{Authorization, Backend, HttpApi, Integration, Passthrough, PayloadFormat, WebSocketApi};

/// A resource of an API with these properties, on one line.
fn part(id: &str, kind: &str, properties: &str) -> String {
    format!("  {id}: {{Type: AWS::ApiGatewayV2::{kind}, Properties: {{{properties}}}}}\n")
}

/// `F` in line 3, the API `Api` in line 4, its stage in line 5, the integration `I` of `F` in line 6; more from line 7
/// on.
fn api(protocol: &str, more: &str) -> String {
    let stage = "ApiId: !Ref Api, StageName: prod, AutoDeploy: true, StageVariables: {a: b}";
    let uri = "!Sub 'arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${F.Arn}/invocations'";
    let integration = format!("ApiId: !Ref Api, IntegrationType: AWS_PROXY, IntegrationUri: {uri}");
    let selection =
        if protocol == "HTTP" { "" } else { ", Name: chat, RouteSelectionExpression: $request.body.action" };
    let own = [
        function("F", "Timeout: 3"),
        part("Api", "Api", &format!("ProtocolType: {protocol}{selection}")),
        part("Stage", "Stage", stage),
        part("I", "Integration", &integration),
    ];
    with_resources(&format!("{}{more}", own.concat()))
}

fn route(id: &str, key: &str, more: &str) -> String {
    part(id, "Route", &format!("ApiId: !Ref Api, RouteKey: {key}, Target: !Sub 'integrations/${{I}}'{more}"))
}

fn socket(more: &str) -> WebSocketApi {
    read(&api("WEBSOCKET", more)).websocket_apis.remove(0)
}

fn http(more: &str) -> HttpApi {
    read(&api("HTTP", more)).http_apis.remove(0)
}

#[test]
fn a_websocket_api_is_the_same_as_one_of_sam() {
    let model = part("M", "Model", "ApiId: !Ref Api, Name: text, Schema: {type: object}");
    let more = [
        route("C", "$connect", ", AuthorizationType: NONE, ApiKeyRequired: true"),
        route(
            "S",
            "send",
            ", RouteResponseSelectionExpression: $default, ModelSelectionExpression: x, RequestModels: {a: text}",
        ),
        part("R", "RouteResponse", "ApiId: !Ref Api, RouteId: !Ref S, RouteResponseKey: $default"),
        model,
    ];
    let api = socket(&more.concat());
    assert_eq!((api.name.as_str(), api.stage.as_str(), api.api_id.as_str()), ("chat", "prod", "api"));
    assert_eq!(api.stage_variables, overrides(&[("a", "b")]));
    assert_eq!(api.route_selection.to_string(), "$request.body.action");
    let (connect, send) = (&api.routes["$connect"], &api.routes["send"]);
    assert!(connect.api_key_required && !connect.route_response && connect.function() == Some("f"));
    assert!(send.route_response && send.request_models["a"] == json!({"type": "object"}));
    assert_eq!(
        (send.model_selection.as_ref().map(ToString::to_string), send.integration_timeout),
        (Some("x".to_owned()), Duration::from_secs(29))
    );
    assert!(api.authorizer.is_none() && !api.iam_authorization);
}

#[test]
fn the_route_connect_has_the_authorizer() {
    let authorizer = |more: &str| {
        part(
            "A",
            "Authorizer",
            &format!("ApiId: !Ref Api, Name: a, AuthorizerType: REQUEST, AuthorizerUri: !GetAtt F.Arn{more}"),
        )
    };
    let connect = route("C", "$connect", ", AuthorizationType: CUSTOM, AuthorizerId: !Ref A");
    let source = ", IdentitySource: [route.request.querystring.token]";
    let found = socket(&format!("{connect}{}", authorizer(source))).authorizer.expect("an authorizer");
    assert_eq!(found.function, "f");
    assert_eq!(found.identity_sources, [IdentitySource::QueryString("token".to_owned())]);
    assert!(socket(&route("C", "$connect", ", AuthorizationType: AWS_IAM")).iam_authorization);
    for (line, more, message) in [
        (
            7,
            route("C", "send", ", AuthorizationType: CUSTOM"),
            "AWS::ApiGatewayV2::Route.AuthorizationType is CUSTOM, which AWS takes only",
        ),
        (7, route("C", "$connect", ", AuthorizationType: CUSTOM"), "AWS::ApiGatewayV2::Route.AuthorizerId is missing"),
        (
            7,
            route("C", "$connect", ", AuthorizationType: CUSTOM, AuthorizerId: x"),
            "AWS::ApiGatewayV2::Route.AuthorizerId is \"x\", which is not",
        ),
        (
            7,
            route("C", "$connect", ", AuthorizationType: JWT"),
            "AWS::ApiGatewayV2::Route.AuthorizationType cannot be \"JWT\"",
        ),
        (
            7,
            authorizer(", IdentitySource: [a]") + &connect,
            "AWS::ApiGatewayV2::Authorizer.IdentitySource has \"a\", which is not",
        ),
    ] {
        assert_problems(&api("WEBSOCKET", &more), &[(line, message)]);
    }
}

#[test]
fn routes_with_other_integrations_are_named() {
    let service =
        part("Sqs", "Integration", "ApiId: !Ref Api, IntegrationType: AWS_PROXY, IntegrationSubtype: SQS-SendMessage");
    let to = |id: &str, key: &str| {
        part(id, "Route", &format!("ApiId: !Ref Api, RouteKey: {key}, Target: integrations/{}", &id[1..]))
    };
    let api = http(&format!("{service}{}", to("RSqs", "POST /send")));
    assert_eq!(api.other_integrations, overrides(&[("POST /send", "AWS_PROXY SQS-SendMessage")]));
}

#[test]
fn an_http_api_has_routes_authorizers_and_payload_formats() {
    let jwt = "ApiId: !Ref Api, Name: j, AuthorizerType: JWT, IdentitySource: [$request.header.Authorization], \
               JwtConfiguration: {Issuer: 'https://id.example', Audience: [one]}";
    let lambda = "ApiId: !Ref Api, Name: l, AuthorizerType: REQUEST, AuthorizerUri: !GetAtt F.Arn, \
                  AuthorizerPayloadFormatVersion: '2.0', EnableSimpleResponses: true, \
                  AuthorizerResultTtlInSeconds: 60, IdentitySource: [$request.header.X]";
    let more = [
        route("A", "'GET /a/{id}'", ", AuthorizationType: JWT, AuthorizerId: !Ref J, AuthorizationScopes: [read]"),
        route("B", "$default", ", AuthorizationType: AWS_IAM"),
        part("J", "Authorizer", jwt),
        part("L", "Authorizer", lambda),
    ];
    let api = http(&more.concat());
    assert_eq!(api.routes[0].key.to_string(), "GET /a/{id}");
    assert_eq!(api.routes[0].payload_format, PayloadFormat::V1, "CloudFormation's default");
    let authorization = |authorizer: &str, scopes: &[&str]| {
        Some(Authorization {
            authorizer: authorizer.to_owned(),
            scopes: scopes.iter().map(|one| (*one).to_owned()).collect(),
        })
    };
    assert_eq!(api.routes[0].authorization, authorization("J", &["read"]));
    assert_eq!(api.routes[1].authorization, authorization("AWS_IAM", &[]));
    assert_eq!(api.authorizers["J"].audience, ["one"]);
    let lambda = &api.lambda_authorizers["L"];
    assert_eq!((lambda.function.as_str(), lambda.cache), ("f", Duration::from_secs(60)));
    assert!(lambda.simple_responses && lambda.payload_format == PayloadFormat::V2);
    assert_eq!(lambda.identity_sources, ["$request.header.X"]);
}

#[test]
fn an_api_with_a_target_needs_no_other_part() {
    let quick = |target: &str| {
        with_resources(&format!(
            "{}{}",
            function("F", ""),
            part("Api", "Api", &format!("Name: q, ProtocolType: HTTP, {target}"))
        ))
    };
    let api = read(&quick("Target: !GetAtt F.Arn")).http_apis.remove(0);
    assert_eq!((api.stage.as_str(), api.routes[0].key.to_string().as_str()), ("$default", "$default"));
    assert_eq!(api.routes[0].payload_format, PayloadFormat::V2);
    let api = read(&quick("Target: !GetAtt F.Arn, RouteKey: GET /a")).http_apis.remove(0);
    assert_eq!(api.routes[0].key.to_string(), "GET /a");
    let api = read(&quick("Target: 'https://a.example'")).http_apis.remove(0);
    assert_eq!(api.other_integrations, overrides(&[("$default", "HTTP_PROXY")]));
    assert_problems(
        &quick("Target: x"),
        &[(4, "AWS::ApiGatewayV2::Api.Target is \"x\", which is not the Arn of a function")],
    );
    let message = "AWS::ApiGatewayV2::Api.RouteKey is \"GET a\", but has a path that must begin with a slash";
    assert_problems(&quick("Target: !GetAtt F.Arn, RouteKey: GET a"), &[(4, message)]);
}

#[test]
fn parts_that_do_not_fit_together_are_errors() {
    for (protocol, more, message) in [
        (
            "WEBSOCKET",
            route("A", "a", "") + &route("B", "a", ""),
            "AWS::ApiGatewayV2::Route.RouteKey is a, which another route",
        ),
        (
            "HTTP",
            route("A", "GET /a", "") + &route("B", "GET /a", ""),
            "AWS::ApiGatewayV2::Route.RouteKey is GET /a, which another",
        ),
        (
            "HTTP",
            route("A", "send", ""),
            "AWS::ApiGatewayV2::Route.RouteKey is \"send\", but is not $default, or a method",
        ),
        (
            "HTTP",
            route("A", "GET a", ""),
            "AWS::ApiGatewayV2::Route.RouteKey is \"GET a\", but has a path that must begin",
        ),
        (
            "HTTP",
            part("A", "Route", "ApiId: !Ref Api, RouteKey: $default"),
            "AWS::ApiGatewayV2::Route.Target is missing",
        ),
        (
            "HTTP",
            part("A", "Route", "ApiId: !Ref Api, RouteKey: $default, Target: x"),
            "AWS::ApiGatewayV2::Route.Target is \"x\"",
        ),
        (
            "HTTP",
            part("A", "Route", "ApiId: x, RouteKey: $default, Target: x"),
            "AWS::ApiGatewayV2::Route.ApiId is \"x\", which",
        ),
        (
            "HTTP",
            part("A", "Stage", "ApiId: x, StageName: s"),
            "AWS::ApiGatewayV2::Stage.ApiId is \"x\", which is not an API",
        ),
        (
            "WEBSOCKET",
            route("A", "a", ", RequestModels: {x: y}"),
            "RequestModels names \"y\", which is not a model of this template",
        ),
    ] {
        let source = api(protocol, &more);
        let last = source.lines().count();
        assert_problems(&source, &[(last, message)]);
    }
    for (properties, message) in [
        ("IntegrationType: LAMBDA", "AWS::ApiGatewayV2::Integration.IntegrationType cannot be \"LAMBDA\""),
        ("IntegrationType: AWS_PROXY", "AWS::ApiGatewayV2::Integration.IntegrationUri is missing: AWS_PROXY needs it"),
        (
            "IntegrationType: AWS_PROXY, IntegrationUri: x",
            "AWS::ApiGatewayV2::Integration.IntegrationUri is \"x\", which is not",
        ),
        (
            "IntegrationType: AWS, IntegrationUri: 'arn:aws:apigateway:eu-central-1:sqs:path/1/q'",
            "AWS::ApiGatewayV2::Integration.CredentialsArn is missing: API Gateway calls a service as a role",
        ),
        ("IntegrationType: HTTP", "AWS::ApiGatewayV2::Integration.IntegrationUri is missing: HTTP needs it"),
        ("IntegrationType: AWS", "AWS::ApiGatewayV2::Integration.IntegrationUri is missing: AWS needs it"),
        (
            "IntegrationType: AWS, IntegrationUri: 'arn:aws:apigateway:eu-central-1:sqs:queue/x'",
            "AWS::ApiGatewayV2::Integration.IntegrationUri is \"arn:aws:apigateway:eu-central-1:sqs:queue/x\", which",
        ),
        (
            "IntegrationType: AWS, IntegrationUri: \
             'arn:aws:apigateway:eu-central-1:lambda:path/x/functions/y/invocations'",
            "AWS::ApiGatewayV2::Integration.IntegrationUri is \
             \"arn:aws:apigateway:eu-central-1:lambda:path/x/functions/y",
        ),
        (
            "IntegrationType: MOCK, PassthroughBehavior: SOMETIMES",
            "AWS::ApiGatewayV2::Integration.PassthroughBehavior cannot be",
        ),
        ("IntegrationType: MOCK, RequestTemplates: []", "RequestTemplates must be a map"),
        (
            "IntegrationType: MOCK, TemplateSelectionExpression: '${a'",
            "AWS::ApiGatewayV2::Integration.TemplateSelectionExpression is \"${a\", where a brace is not closed",
        ),
    ] {
        let integration = part("J", "Integration", &format!("ApiId: !Ref Api, {properties}"));
        let route = part("R", "Route", "ApiId: !Ref Api, RouteKey: a, Target: integrations/J");
        assert_problems(&api("WEBSOCKET", &(integration + &route)), &[(7, message)]);
    }
    let bare = |properties: &str| with_resources(&part("Api", "Api", properties));
    let missing = "AWS::ApiGatewayV2::Api";
    assert_problems(&bare("Name: a"), &[(3, &format!("{missing}.ProtocolType is missing: give HTTP or WEBSOCKET"))]);
    let needed = ["Name", "RouteSelectionExpression"].map(|name| (3, format!("{missing}.{name} is missing")));
    let needed: Vec<_> = needed.iter().map(|(line, message)| (*line, message.as_str())).collect();
    assert_problems(&bare("ProtocolType: WEBSOCKET"), &needed);
}

#[test]
fn a_route_has_the_limits_of_its_stage() {
    let routes = [
        route("A", "a", ""),
        route("B", "b", ""),
        part("Second", "Stage", "ApiId: !Ref Api, StageName: x, DefaultRouteSettings: {ThrottlingRateLimit: 9}"),
    ];
    let with = |settings: &str| api("WEBSOCKET", &routes.concat()).replace("AutoDeploy: true", settings);
    let limits = |settings: &str| {
        let api = read(&with(settings)).websocket_apis.remove(0);
        ["a", "b"].map(|key| api.routes[key].throttle.map(|throttle| (throttle.rate, throttle.burst)))
    };
    assert_eq!(limits("AutoDeploy: true"), [None, None], "another stage is not run");
    let default = "DefaultRouteSettings: {ThrottlingRateLimit: 2.5, ThrottlingBurstLimit: 4, LoggingLevel: INFO}";
    assert_eq!(limits(default), [Some((2.5, 4)), Some((2.5, 4))]);
    let own = "RouteSettings: {b: {ThrottlingBurstLimit: 1}, c: {DataTraceEnabled: true}}";
    assert_eq!(limits(own), [None, Some((10_000.0, 1))]);
    let notes = read(&with(own)).notes;
    let message = "RouteSettings names the route \"c\", which the API does not have";
    assert!(notes.iter().any(|note| (note.line, note.message.as_str()) == (5, message)), "{notes:?}");
    for (settings, message) in [
        ("DefaultRouteSettings: {ThrottlingRateLimit: -1}", "Settings of a route.ThrottlingRateLimit must be a number"),
        ("DefaultRouteSettings: {ThrottlingRateLimit: many}", "Settings of a route.ThrottlingRateLimit must be"),
        ("RouteSettings: {a: {ThrottlingBurstLimit: -1}}", "Settings of a route.ThrottlingBurstLimit is -1"),
        ("RouteSettings: []", "RouteSettings must be a map"),
    ] {
        assert_problems(&with(settings), &[(5, message)]);
    }
}

#[test]
fn a_response_of_a_route_is_enough_to_answer() {
    let response = part("R", "RouteResponse", "ApiId: !Ref Api, RouteId: !Ref S, RouteResponseKey: $default");
    assert!(socket(&(route("S", "send", "") + &response)).routes["send"].route_response);
    let expression = ", RouteResponseSelectionExpression: $default";
    assert!(!socket(&route("S", "send", expression)).routes["send"].route_response);
    let wrong = route("S", "send", ", RouteResponseSelectionExpression: $request.body.a");
    let message = "AWS::ApiGatewayV2::Route.RouteResponseSelectionExpression cannot be";
    assert_problems(&api("WEBSOCKET", &wrong), &[(7, message)]);
}

#[test]
fn what_is_not_run_of_an_api_is_noted() {
    let notes = |source: &str| -> Vec<String> { read(source).notes.into_iter().map(|note| note.message).collect() };
    let second = part("Second", "Stage", "ApiId: !Ref Api, StageName: test");
    assert_eq!(notes(&api("HTTP", &second)), ["Second is another stage of Api, which is not run here"]);
    let bare = with_resources(&part("Api", "Api", "ProtocolType: HTTP"));
    assert_eq!(notes(&bare), ["Api has no stage, so on AWS nobody could call it"]);
}

#[test]
fn an_integration_that_is_no_proxy_has_templates_and_responses() {
    let uri = |call: &str| format!("!Sub 'arn:aws:apigateway:${{AWS::Region}}:{call}'");
    let put = format!(
        "ApiId: !Ref Api, IntegrationType: AWS, IntegrationUri: {}, CredentialsArn: !GetAtt Role.Arn, \
         TemplateSelectionExpression: \\$default, RequestTemplates: {{$default: '{{}}'}}, PassthroughBehavior: NEVER, \
         RequestParameters: {{integration.request.header.A: context.connectionId}}, TimeoutInMillis: 100",
        uri("dynamodb:action/PutItem")
    );
    let response = "ApiId: !Ref Api, IntegrationId: !Ref Put, IntegrationResponseKey: /2\\d\\d/, \
                    ResponseTemplates: {\"200\": ok}, \
                    TemplateSelectionExpression: '${integration.response.statuscode}'";
    let queue = format!(
        "ApiId: !Ref Api, IntegrationType: AWS, CredentialsArn: !GetAtt Role.Arn, IntegrationUri: {}",
        uri("sqs:path/1/q.fifo")
    );
    let called = format!(
        "ApiId: !Ref Api, IntegrationType: AWS, IntegrationUri: {}",
        uri("lambda:path/2015-03-31/functions/${F.Arn}/invocations")
    );
    let http = "ApiId: !Ref Api, IntegrationType: HTTP_PROXY, IntegrationUri: 'https://a.example/${stageVariables.b}', \
                IntegrationMethod: PUT";
    let policy = "{Version: '2012-10-17', Statement: [{Effect: Allow, Action: 'dynamodb:PutItem', Resource: '*'}]}";
    let role = format!(
        "  Role: {{Type: AWS::IAM::Role, Properties: {{AssumeRolePolicyDocument: {{}}, \
         Policies: [{{PolicyName: p, PolicyDocument: {policy}}}]}}}}\n"
    );
    let to = |key: &str, integration: &str| {
        let id = format!("R{integration}");
        part(&id, "Route", &format!("ApiId: !Ref Api, RouteKey: {key}, Target: integrations/{integration}"))
    };
    let more = [
        part("Put", "Integration", &put),
        part("PutOk", "IntegrationResponse", response),
        part("Queue", "Integration", &queue),
        part("Called", "Integration", &called),
        part("Http", "Integration", http),
        part("Mock", "Integration", "ApiId: !Ref Api, IntegrationType: MOCK"),
        role,
        to("put", "Put"),
        to("queue", "Queue"),
        to("called", "Called"),
        to("http", "Http"),
        to("mock", "Mock"),
        part("RR", "RouteResponse", "ApiId: !Ref Api, RouteId: !Ref RPut, RouteResponseKey: $default"),
    ];
    let api = socket(&more.concat());
    let mapped = |key: &str| match &api.routes[key].integration {
        Integration::Mapped(mapped) => mapped.as_ref().clone(),
        Integration::Proxy(function) => panic!("{function} behind a proxy"),
    };
    let put = mapped("put");
    let Backend::Service { service, action, role, .. } = &put.backend else { panic!("{put:?}") };
    assert_eq!((service.as_str(), action.as_deref(), role.name.as_str()), ("dynamodb", Some("PutItem"), "local-Role"));
    assert_eq!(role.policies[0]["Statement"][0]["Action"], "dynamodb:PutItem");
    assert_eq!(put.passthrough, Passthrough::Never);
    assert_eq!(put.request_templates, overrides(&[("$default", "{}")]));
    assert_eq!(put.template_selection.as_ref().map(|key| key.evaluate(|_| None)).as_deref(), Some("$default"));
    assert_eq!(put.request_parameters, overrides(&[("integration.request.header.A", "context.connectionId")]));
    assert_eq!(
        (put.responses[0].key.as_str(), &put.responses[0].templates),
        ("/2\\d\\d/", &overrides(&[("200", "ok")]))
    );
    assert!(api.routes["put"].route_response && !api.routes["queue"].route_response);
    assert_eq!(api.routes["put"].integration_timeout, Duration::from_millis(100));
    assert_eq!(mapped("put").backend.name(), "dynamodb:PutItem");
    let Backend::Service { service, path, action: None, .. } = mapped("queue").backend else {
        panic!("{:?}", mapped("queue"))
    };
    assert_eq!((service.as_str(), path.as_str()), ("sqs", "1/q.fifo"));
    assert_eq!(mapped("called").backend, Backend::Function("f".to_owned()));
    assert_eq!(api.routes["called"].function(), Some("f"));
    let url = "https://a.example/${stageVariables.b}".to_owned();
    assert_eq!(mapped("http").backend, Backend::Http { method: "PUT".to_owned(), url, proxy: true });
    assert_eq!((mapped("mock").backend, mapped("mock").passthrough), (Backend::Mock, Passthrough::WhenNoMatch));

    let elsewhere =
        part("X", "IntegrationResponse", "ApiId: !Ref Api, IntegrationId: y, IntegrationResponseKey: $default");
    let message = "AWS::ApiGatewayV2::IntegrationResponse.IntegrationId is \"y\", which is not an integration";
    assert_problems(&api_with(&elsewhere), &[(7, message)]);
}

fn api_with(more: &str) -> String {
    api("WEBSOCKET", more)
}

#[test]
fn a_role_that_is_not_known_may_do_everything_with_a_note() {
    let more = part(
        "Put",
        "Integration",
        "ApiId: !Ref Api, IntegrationType: AWS, IntegrationUri: 'arn:aws:apigateway:x:dynamodb:action/PutItem', \
         CredentialsArn: 'arn:aws:iam::1:role/elsewhere'",
    ) + &part("R", "Route", "ApiId: !Ref Api, RouteKey: put, Target: integrations/Put");
    let template = read(&api_with(&more));
    let Integration::Mapped(mapped) = &template.websocket_apis[0].routes["put"].integration else { panic!("a proxy") };
    let Backend::Service { role, .. } = &mapped.backend else { panic!("{mapped:?}") };
    assert_eq!((role.name.as_str(), &role.policies[0]["Statement"][0]["Action"]), ("elsewhere", &json!("*")));
    let note = "arn:aws:iam::1:role/elsewhere may make all calls here, because its policies are not known";
    assert!(template.notes.iter().any(|one| (one.line, one.message.as_str()) == (7, note)), "{:?}", template.notes);
}
