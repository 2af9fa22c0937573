//! REST APIs whose routes are in an OpenAPI definition.

use super::*;
use crate::{Authorization, RestApi, RestAuthorizer, RestMock};

const URI: &str = "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${F.Arn}/invocations";

/// The function `F` with these events on line 3, and the API on line 4 with this definition from line 9 on.
fn template(events: &str, more: &str, definition: &str) -> String {
    let function = function("F", &format!("Events: {{{events}}}"));
    let indented: String = definition.lines().map(|line| format!("        {line}\n")).collect();
    with_resources(&format!(
        "{function}  Api:\n    Type: AWS::Serverless::Api\n    Properties:\n      StageName: v1\n{more}      \
         DefinitionBody:\n{indented}"
    ))
}

fn proxy() -> String {
    format!("x-amazon-apigateway-integration: {{type: aws_proxy, httpMethod: POST, uri: !Sub '{URI}'}}")
}

fn api_of(source: &str) -> RestApi {
    read(source).rest_apis.remove(0)
}

fn routes(api: &RestApi) -> Vec<String> {
    api.routes.iter().map(|route| route.key.to_string()).collect()
}

#[test]
fn each_method_with_a_function_is_a_route() {
    let proxy = proxy();
    let definition = format!(
        "openapi: 3.0.1\nx-amazon-apigateway-binary-media-types: [image/png]\npaths:\n  /pets/:\n    parameters: \
         []\n    get: {{{proxy}}}\n    x-amazon-apigateway-any-method:\n      {}\n  \
         '/pets/{{id}}':\n    delete: {{{proxy}}}\n",
        proxy.replace("httpMethod: POST", "timeoutInMillis: 50")
    );
    let api = api_of(&template("", "", &definition));
    assert_eq!(routes(&api), ["GET /pets", "ANY /pets", "DELETE /pets/{id}"]);
    let timeouts: Vec<_> = api.routes.iter().map(|route| route.integration_timeout.as_millis()).collect();
    assert_eq!(timeouts, [29_000, 50, 29_000]);
    assert!(api.routes.iter().all(|route| route.function == "f" && route.authorization.is_none()));
    assert_eq!(api.binary_media_types, ["image/png"]);
    // An event may repeat a route, and add others.
    let event = |path: &str| format!("{{Type: Api, Properties: {{RestApiId: !Ref Api, Path: {path}, Method: get}}}}");
    let api = api_of(&template(&format!("A: {}, B: {}", event("/pets"), event("/more")), "", &definition));
    assert_eq!(routes(&api), ["ANY /pets", "DELETE /pets/{id}", "GET /pets", "GET /more"]);
}

#[test]
fn a_definition_may_be_a_file_beside_the_template() {
    let dir = tempfile::tempdir().expect("a folder");
    let function = function("F", "Timeout: 3");
    let source = with_resources(&format!(
        "{function}  Api: {{Type: AWS::Serverless::Api, Properties: {{StageName: v1, DefinitionUri: api.yaml}}}}\n"
    ));
    let path = dir.path().join("t.yaml");
    std::fs::write(&path, source).expect("written");
    let load = || load(&path, &BTreeMap::new(), &locals());
    let missing = load().expect_err("no file").to_string();
    assert!(missing.contains("t.yaml:4: The definition ") && missing.contains("api.yaml can't be read: "), "{missing}");
    let uri = "arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/local-F/invocations";
    let definition =
        format!("paths: {{/a: {{get: {{x-amazon-apigateway-integration: {{type: AWS_PROXY, uri: '{uri}'}}}}}}}}\n");
    std::fs::write(dir.path().join("api.yaml"), definition).expect("written");
    assert_eq!(routes(&load().expect("a template").rest_apis[0]), ["GET /a"]);
    std::fs::write(dir.path().join("api.yaml"), "a: [").expect("written");
    let broken = load().expect_err("no YAML").to_string();
    assert!(broken.contains("api.yaml:") && broken.contains("Not valid YAML"), "{broken}");
    let elsewhere =
        with_resources("  Api: {Type: AWS::Serverless::Api, Properties: {StageName: v1, DefinitionUri: 's3://a/b'}}\n");
    assert_problems(&elsewhere, &[(3, "Api: its OpenAPI definition is not on this machine (--allow-missing")]);
}

#[test]
fn security_schemes_are_authorizers() {
    let proxy = proxy();
    let definition = format!(
        "paths:\n  /a: {{get: {{security: [{{token: []}}], {proxy}}}}}\n  /b: {{get: {{security: [{{pool: [read]}}], \
         {proxy}}}}}\n  /c: {{get: {{security: [{{sigv4: []}}], {proxy}}}}}\n  /d: {{get: {{security: [{{key: []}}, \
         {{request: []}}], {proxy}}}}}\n  /e: {{get: {{security: [], {proxy}}}}}\n  /f: {{get: {{{proxy}}}}}\n\
         components:\n  securitySchemes:\n    token:\n      {{type: apiKey, in: header, name: X, \
         x-amazon-apigateway-authorizer: {{type: token, authorizerUri: !Sub '{URI}', identityValidationExpression: a+, \
         authorizerResultTtlInSeconds: 0}}}}\n    request:\n      {{type: apiKey, in: header, name: Unused, \
         x-amazon-apigateway-authorizer: {{type: request, authorizerUri: !Sub '{URI}', identitySource: \
         'method.request.header.A, method.request.querystring.b, stageVariables.c, context.d'}}}}\n    pool: {{type: \
         apiKey, in: header, name: Authorization, x-amazon-apigateway-authorizer: {{type: cognito_user_pools, \
         providerARNs: [p]}}}}\n    sigv4: {{type: apiKey, x-amazon-apigateway-authtype: awsSigv4}}\n    key: {{type: \
         apiKey, name: x-api-key, in: header}}\n"
    );
    let api = api_of(&template("", "      Auth: {DefaultAuthorizer: AWS_IAM}\n", &definition));
    let named = |name: &str, scopes: &[&str]| {
        Some(Authorization {
            authorizer: name.to_owned(),
            scopes: scopes.iter().map(|one| (*one).to_owned()).collect(),
        })
    };
    let needed: Vec<_> = api.routes.iter().map(|route| (route.authorization.clone(), route.api_key_required)).collect();
    let expected = [
        (named("token", &[]), false),
        (named("pool", &["read"]), false),
        (named("AWS_IAM", &[]), false),
        (named("request", &[]), true),
        (None, false),
        (named("AWS_IAM", &[]), false),
    ];
    assert_eq!(needed, expected);
    let (function, text) = ("f".to_owned(), |text: &str| vec![text.to_owned()]);
    let token = RestAuthorizer::Token {
        function: function.clone(),
        header: "X".to_owned(),
        validation: Some("a+".to_owned()),
        cache: Duration::ZERO,
    };
    let request = RestAuthorizer::Request {
        function,
        headers: text("A"),
        query_strings: text("b"),
        stage_variables: text("c"),
        context: text("d"),
        cache: Duration::from_secs(300),
    };
    let pool = RestAuthorizer::Cognito { user_pools: text("p"), header: "Authorization".to_owned() };
    let all = [("pool", pool), ("request", request), ("token", token)].map(|(name, one)| (name.to_owned(), one));
    assert_eq!(api.authorizers, BTreeMap::from(all));
}

#[test]
fn a_mock_has_one_answer_and_other_integrations_are_named() {
    let mock = "x-amazon-apigateway-integration:\n  type: mock\n  requestTemplates: {application/json: \
                '{\"statusCode\": 200}'}\n  responses:\n    default:\n      statusCode: '204'\n      \
                responseParameters: {method.response.header.Access-Control-Allow-Origin: \"'*'\"}\n      \
                responseTemplates: {application/json: '{}'}\n";
    let indented = |text: &str| text.lines().map(|line| format!("      {line}\n")).collect::<String>();
    let of = |method: &str, integration: &str| format!("    {method}:\n{}", indented(integration));
    let with_template = mock.replace("'{}'", "'$input.body'");
    let http = "x-amazon-apigateway-integration: {type: http_proxy, uri: 'https://example.com'}\n";
    let definition = format!(
        "paths:\n  /a:\n{}{}{}{}",
        of("options", mock),
        of("get", &with_template),
        of("put", http),
        of("post", "description: nothing\n")
    );
    let api = api_of(&template("", "", &definition));
    let [RestMock { key, status, headers, body }] = api.mocks.as_slice() else { panic!("{:?}", api.mocks) };
    assert_eq!((key.to_string().as_str(), *status, body.as_str()), ("OPTIONS /a", 204, "{}"));
    assert_eq!(headers.as_slice(), [("Access-Control-Allow-Origin".to_owned(), "*".to_owned())]);
    let others = overrides(&[("GET /a", "MOCK with templates"), ("POST /a", "NONE"), ("PUT /a", "HTTP_PROXY")]);
    assert_eq!((api.other_integrations, api.routes.len()), (others, 0));
}

#[test]
fn what_is_wrong_in_a_definition_has_its_line() {
    let proxy = proxy();
    let no_function = proxy.replace("${F.Arn}", "other");
    let definition = format!("paths:\n  a: {{get: {{{proxy}}}}}\n  /b:\n    get: {{{no_function}}}\n");
    let problems = [(10, "The path \"a\" of the definition "), (12, "The integration of GET /b has the uri \"arn:")];
    assert_problems(&template("", "", &definition), &problems);
    assert_problems(&template("", "", "text"), &[(9, "An OpenAPI definition must be a map")]);
    let scheme =
        |text: &str| format!("components: {{securitySchemes: {{s: {{x-amazon-apigateway-authorizer: {{{text}}}}}}}}}");
    let unknown =
        "The authorizer s of the definition is of the type \"jwt\" (known: cognito_user_pools, request, token)";
    assert_problems(&template("", "", &scheme("type: jwt")), &[(4, unknown)]);
    let nobody = "The authorizer s has the uri \"x\", which names no function here";
    assert_problems(&template("", "", &scheme("type: token, authorizerUri: x")), &[(4, nobody)]);
    let request = |text: &str| scheme(&format!("type: request, authorizerUri: !Sub '{URI}'{text}"));
    let shared =
        "The authorizer s keeps its answers, so it needs an identitySource (or authorizerResultTtlInSeconds: 0)";
    assert_problems(&template("", "", &request("")), &[(4, shared)]);
    assert_problems(&template("", "", &request(", identitySource: ' '")), &[(4, shared)]);
    read(&template("", "", &request(", authorizerResultTtlInSeconds: 0")));
    for source in ["method.request.body.a", "context.", "$request.header.A"] {
        let problem = format!("The authorizer s has the identitySource \"{source}\" (known: method.request.header.…, ");
        let sources = format!(", identitySource: 'stageVariables.a, {source}'");
        assert_problems(&template("", "", &request(&sources)), &[(4, &problem)]);
    }
}

#[test]
fn validators_are_noted() {
    let definition = format!("paths: {{/a: {{get: {{x-amazon-apigateway-request-validator: basic, {}}}}}}}", proxy());
    let notes = read(&template("", "", &definition)).notes;
    assert!(notes.iter().any(|note| note.message == "Api: requests are not validated here"), "{notes:?}");
}
