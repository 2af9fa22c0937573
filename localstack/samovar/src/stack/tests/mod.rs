//! A whole stack: which part serves which path, which environment functions get, how it stops. Functions "run" at an
//! invoke endpoint of the test's own, which answers with the event, so no function is built.
#![allow(clippy::unwrap_used, reason = "A test that panics has failed, as it should")]

mod eventbridge;
mod events;
mod integrations;
mod languages;
mod media;
mod site;
mod streams;
mod tls;

use std::future::pending;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use http::{Method, StatusCode};
use serde_json::Value;

use super::*;
use crate::invoke::Invoker as _;
use crate::options::Defaults;
use crate::testing::functions::Functions;
use crate::testing::within;

const TEMPLATE: &str = "
Transform: AWS::Serverless-2016-10-31
Globals: {Function: {CodeUri: ., Handler: bootstrap, Runtime: provided.al2023}}
Resources:
  Socket:
    Type: AWS::Serverless::WebSocketApi
    Properties:
      RouteSelectionExpression: $request.body.action
      StageName: ws
      Routes: {$default: {FunctionArn: !GetAtt Web.Arn}}
  Web:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: web}}
    Properties:
      Environment: {Variables: {OWN_URL: !Sub '${Http.ApiEndpoint}/me', OTHER_URL: !Sub '${Second.ApiEndpoint}/v1'}}
      Events:
        Me: {Type: HttpApi, Properties: {ApiId: !Ref Http, Method: GET, Path: /me}}
        Open: {Type: HttpApi, Properties: {ApiId: !Ref Http, Method: GET, Path: '/{proxy+}', Auth: {Authorizer: NONE}}}
        Second: {Type: HttpApi, Properties: {ApiId: !Ref Second}}
  Http:
    Type: AWS::Serverless::HttpApi
    Properties:
      CorsConfiguration: true
      Auth:
        DefaultAuthorizer: Users
        Authorizers:
          Users:
            IdentitySource: $request.header.Authorization
            JwtConfiguration: {issuer: !GetAtt Pool.ProviderURL, audience: [!Ref Client]}
  Second: {Type: AWS::Serverless::HttpApi, Properties: {StageName: v1}}
  Pool: {Type: AWS::Cognito::UserPool}
  Client: {Type: AWS::Cognito::UserPoolClient, Properties: {UserPoolId: !Ref Pool}}
";

struct Bench {
    stack: Stack,
    functions: Arc<Functions>,
    http: reqwest::Client,
    _dir: tempfile::TempDir,
}

impl Bench {
    async fn start(template: &str) -> Result<Self> {
        Self::start_beside(template, &[]).await
    }

    /// Starts with this argument more.
    async fn start_with(template: &str, argument: &str) -> Result<Self> {
        Self::start_in(template, &[], &["--ephemeral", argument]).await
    }

    /// Starts with this data directory.
    async fn start_keeping(template: &str, data_dir: &Path) -> Result<Self> {
        Self::start_in(template, &[], &["--data-dir", &data_dir.display().to_string()]).await
    }

    /// With these files in the template's folder.
    async fn start_beside(template: &str, files: &[(&str, &str)]) -> Result<Self> {
        Self::start_in(template, files, &["--ephemeral"]).await
    }

    async fn start_in(template: &str, files: &[(&str, &str)], more: &[&str]) -> Result<Self> {
        let functions = Arc::new(Functions::default());
        let invoker = Arc::clone(&functions);
        let invoke = move |axum::extract::Path(function): axum::extract::Path<String>, event: Bytes| {
            let invoker = Arc::clone(&invoker);
            async move { invoker.invoke(&function, event).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR) }
        };
        let router = Router::new().route("/2015-03-31/functions/{function}/invocations", post(invoke));
        let listener = listen(0)?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        tokio::spawn(crate::server::serve(listener, router, None, CancellationToken::new()));
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("template.yaml");
        std::fs::write(&path, template)?;
        for (name, text) in files {
            let file = dir.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap())?;
            std::fs::write(file, text)?;
        }
        let path = path.display().to_string();
        let mut args = vec!["samovar", "--port", "0", "--template", &path];
        args.extend(["--invoke-endpoint", &endpoint, "--allow-host", "tunnel.example"]);
        args.extend(more);
        let stack = Stack::start(&Options::from_args(args, &Defaults::default())?).await?;
        Ok(Self { stack, functions, http: reqwest::Client::new(), _dir: dir })
    }

    async fn send(&self, method: Method, path: &str, token: Option<&str>) -> (u16, String) {
        let mut request = self.http.request(method, format!("{}{path}", self.stack.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = within("The request is answered", request.send()).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

#[tokio::test]
async fn each_path_belongs_to_the_stack_a_websocket_api_or_an_http_api() {
    let bench = Bench::start(TEMPLATE).await.unwrap();
    let not_found = r#"{"message":"Not Found"}"#;
    for (method, path, status, body) in [
        // /{proxy+} matches all of these, but they are taken.
        (Method::GET, "/_local/health", 200, r#"{"status":"ok"}"#),
        (Method::GET, "/ws", 426, "This is a WebSocket API"),
        (Method::GET, "/ws/@connections/x", 400, ""),
        (Method::GET, "/me", 401, r#"{"message":"Unauthorized"}"#),
        (Method::OPTIONS, "/me", 204, ""),
        (Method::POST, "/me", 404, not_found),
        (Method::GET, "/", 404, not_found),
    ] {
        let (actual, text) = bench.send(method, path, None).await;
        assert!(actual == status && text.contains(body), "{path}: {actual} {text}");
    }
    assert_eq!(bench.functions.count("web"), 0);
    for (path, api, stage) in [
        ("/anything", "http", "$default"),
        ("/v2/a", "http", "$default"),
        ("/v1", "second", "v1"),
        ("/v1/a", "second", "v1"),
    ] {
        assert_eq!(bench.send(Method::GET, path, None).await.0, 200, "{path}");
        let context = bench.functions.event("web").await["requestContext"].take();
        assert_eq!([&context["apiId"], &context["stage"]], [api, stage], "{path}");
    }
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn a_token_of_the_user_pool_opens_a_route() {
    let bench = Bench::start(TEMPLATE).await.unwrap();
    let url = format!("{}/_local/token", bench.stack.url);
    let issued = bench.http.post(url).body(r#"{"username":"alice"}"#).send().await.unwrap();
    let issued: Value = serde_json::from_str(&issued.text().await.unwrap()).unwrap();
    assert_eq!(bench.send(Method::GET, "/me", issued["accessToken"].as_str()).await.0, 200);
    let event = bench.functions.event("web").await;
    assert_eq!(event["requestContext"]["authorizer"]["jwt"]["claims"]["username"], "alice");
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn functions_get_the_local_addresses_of_the_apis() {
    let bench = Bench::start(TEMPLATE).await.unwrap();
    let (_, environment) = bench.send(Method::GET, "/_local/environment", None).await;
    let url = &bench.stack.url;
    for line in [format!("OWN_URL={url}/me"), format!("OTHER_URL={url}/v1")] {
        assert!(environment.lines().any(|one| one == line), "{line} in {environment}");
    }
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn a_running_request_is_answered_before_the_stack_stops() {
    let bench = Bench::start(TEMPLATE).await.unwrap();
    let gate = bench.functions.hold("web");
    let request = tokio::spawn(bench.http.get(format!("{}/slow", bench.stack.url)).send());
    bench.functions.event("web").await;
    let address = bench.stack.url.strip_prefix("http://").unwrap().to_owned();
    let stopped = tokio::spawn(bench.stack.stop(pending()));
    let refuses = async { while tokio::net::TcpStream::connect(&address).await.is_ok() {} };
    within("New clients are refused", refuses).await;
    gate.add_permits(1);
    assert_eq!(within("The request is answered", request).await.unwrap().unwrap().status(), 200);
    within("The stack stops", stopped).await.unwrap();
}

#[tokio::test]
async fn expired_items_are_deleted_as_often_as_the_option_says() {
    let table = "
  Items:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: items
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
      TimeToLiveSpecification: {AttributeName: expires, Enabled: true}
";
    let bench = Bench::start_in(&format!("{TEMPLATE}{table}"), &[], &["--ttl-every", "0.1"]).await.unwrap();
    let tables = &bench.stack.services.dynamodb;
    for (pk, expires) in [("old", "1700000000"), ("new", "4102444800")] {
        let item = json!({"TableName": "items", "Item": {"pk": {"S": pk}, "expires": {"N": expires}}});
        tables.expect("PutItem", &item).await.unwrap();
    }
    let deleted = async {
        while tables.expect("Scan", &json!({"TableName": "items"})).await.unwrap()["Count"] != 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("The expired item is deleted", deleted).await;
    let left = tables.expect("Scan", &json!({"TableName": "items"})).await.unwrap();
    assert_eq!(left["Items"][0]["pk"]["S"], "new");
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn a_missing_template_is_an_error_that_names_the_option() {
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("template.yaml");
    let arguments = ["samovar", "--port", "0", "--ephemeral", "--template", template.to_str().unwrap()];
    let options = Options::from_args(arguments, &Defaults::default()).unwrap();
    let error = Stack::start(&options).await.expect_err("no template").to_string();
    assert!(error.starts_with(&format!("There is no template {}: ", template.display())), "{error}");
    assert!(error.ends_with("give the file with --template FILE"), "{error}");
}

#[tokio::test]
async fn what_is_not_served_stops_the_start_unless_it_may_be_missing() {
    let template =
        TEMPLATE.replace("FunctionArn: !GetAtt Web.Arn", "FunctionArn: !GetAtt Web.Arn, ApiKeyRequired: true");
    let error = Bench::start(&template).await.err().expect("an API key").to_string();
    assert!(error.contains("Socket: the route $default needs an API key, and no usage plan"), "{error}");
    assert!(error.ends_with("--allow-missing runs the rest of the template"), "{error}");
    let bench = Bench::start_with(&template, "--allow-missing").await.unwrap();
    assert_eq!(bench.send(Method::GET, "/v1/a", None).await.0, 200, "the rest runs");
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn a_function_url_is_a_path_that_the_ready_line_and_functions_know() {
    let template = TEMPLATE.replace("      Events:\n", "      FunctionUrlConfig: {AuthType: NONE}\n      Events:\n");
    let bench = Bench::start(&template.replace("!Sub '${Http.ApiEndpoint}/me'", "!GetAtt WebUrl.FunctionUrl")).await;
    let bench = bench.unwrap();
    let url = format!("{}/_lambda-url/weburl/", bench.stack.url);
    let ready: Value = serde_json::from_str(&bench.stack.ready_line()).unwrap();
    assert_eq!(ready["functionUrls"], json!({ "web": url }));
    let (_, environment) = bench.send(Method::GET, "/_local/environment", None).await;
    assert!(environment.lines().any(|line| line == format!("OWN_URL={url}")), "{environment}");
    assert_eq!(bench.send(Method::POST, "/_lambda-url/weburl/pets", None).await.0, 200);
    assert_eq!(bench.functions.event("web").await["rawPath"], "/pets");
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn the_key_of_a_usage_plan_is_in_the_ready_line_and_opens_its_routes() {
    let api = "  Keyed: {Type: AWS::Serverless::Api, Properties: {StageName: keyed, Auth: {ApiKeyRequired: true, \
               UsagePlan: {CreateUsagePlan: PER_API}}}}\n  K: {Type: AWS::ApiGateway::ApiKey, Properties: {Enabled: \
               true, Value: another-key-of-the-api}}\n  P: \
               {Type: AWS::ApiGateway::UsagePlan, Properties: {ApiStages: [{ApiId: !Ref Keyed, Stage: keyed}]}}\n  \
               PK: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: !Ref K, KeyType: API_KEY, \
               UsagePlanId: !Ref P}}\nOutputs: {Key: {Value: !Ref KeyedApiKey}}\n";
    let event = "Keyed: {Type: Api, Properties: {RestApiId: !Ref Keyed, Method: get, Path: /pets}}";
    let template = TEMPLATE.replace("      Events:\n", &format!("      Events:\n        {event}\n")) + api;
    let bench = Bench::start(&template).await.unwrap();
    let ready: Value = serde_json::from_str(&bench.stack.ready_line()).unwrap();
    let key = ready["apiKeys"]["Keyed"].as_str().unwrap().to_owned();
    assert!(key.len() >= 20, "{key}");
    assert_eq!(bench.send(Method::GET, "/keyed/pets", None).await, (403, r#"{"message":"Forbidden"}"#.to_owned()));
    let get = |key: &str| bench.http.get(format!("{}/keyed/pets", bench.stack.url)).header("x-api-key", key).send();
    assert_eq!(get("another").await.unwrap().status(), 403);
    assert_eq!(bench.functions.count("web"), 0);
    assert_eq!(get("another-key-of-the-api").await.unwrap().status(), 200);
    bench.functions.event("web").await;
    assert_eq!(get(&key).await.unwrap().status(), 200);
    assert_eq!(bench.functions.event("web").await["requestContext"]["identity"]["apiKey"], key.as_str());
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn a_rest_api_is_served_under_its_stage_and_functions_get_its_local_address() {
    let rest = "      Events:\n        Rest: {Type: Api, Properties: {Method: get, Path: /pets}}\n";
    let template = TEMPLATE.replace("      Events:\n", rest);
    let own = "!Sub '${Http.ApiEndpoint}/me'";
    let of_rest = "!Sub 'https://${ServerlessRestApi}.execute-api.${AWS::Region}.amazonaws.com/Prod/pets'";
    let bench = Bench::start(&template.replace(own, of_rest)).await.unwrap();
    assert_eq!(bench.send(Method::GET, "/Prod/pets", None).await.0, 200);
    assert_eq!(bench.functions.event("web").await["requestContext"]["apiId"], "serverlessrestapi");
    assert_eq!(bench.send(Method::GET, "/Prod/other", None).await.0, 403);
    assert_eq!(bench.send(Method::GET, "/v1/a", None).await.0, 200, "an HTTP API beside it");
    let (_, environment) = bench.send(Method::GET, "/_local/environment", None).await;
    let line = format!("OWN_URL={}/Prod/pets", bench.stack.url);
    assert!(environment.lines().any(|one| one == line), "{line} in {environment}");
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn two_default_stages_are_an_error() {
    let template = TEMPLATE.replace(
        "Second: {Type: AWS::Serverless::HttpApi, Properties: {StageName: v1}}",
        "Second: {Type: AWS::Serverless::HttpApi}",
    );
    let error = Bench::start(&template).await.err().expect("ambiguous").to_string();
    assert!(error.contains("both have the stage $default") && error.contains("StageName"), "{error}");
}

#[tokio::test]
async fn a_page_elsewhere_gets_no_token_and_sees_no_table() {
    let bench = Bench::start(TEMPLATE).await.unwrap();
    let url = bench.stack.url.clone();
    let token = |host: &str, origin: &str| {
        let request = bench.http.post(format!("{url}/_local/token")).body(r#"{"username":"alice"}"#);
        let request = if host.is_empty() { request } else { request.header("host", host) };
        let request = if origin.is_empty() { request } else { request.header("origin", origin) };
        async { request.send().await.unwrap() }
    };
    assert_eq!(token("", "").await.status(), 200);
    assert_eq!(token("tunnel.example", "https://tunnel.example").await.status(), 200);
    let refused = token("evil.example:8000", "").await;
    assert_eq!(refused.status(), 421);
    assert!(refused.text().await.unwrap().contains("--allow-host evil.example\""));
    let refused = token("", "https://evil.example").await;
    assert_eq!(refused.status(), 403);
    assert!(refused.text().await.unwrap().contains("https://evil.example"));
    let tables = bench.http.post(format!("{url}/_aws")).header("host", "evil.example").send().await.unwrap();
    assert_eq!(tables.status(), 421);
    let invoke = |origin: &str| {
        let request = bench.http.post(format!("{url}/2015-03-31/functions/Web/invocations")).body("{}");
        request.header("origin", origin).send()
    };
    assert_eq!(invoke("https://evil.example").await.unwrap().status(), 403);
    assert_eq!(bench.functions.count("web"), 0);
    assert_eq!(invoke("https://tunnel.example").await.unwrap().status(), 200);
    assert_eq!(bench.functions.count("web"), 1);
    within("The stack stops", bench.stack.stop(pending())).await;
}
