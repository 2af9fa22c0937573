//! A whole stack, from the template to an upload and a download.

use std::collections::BTreeMap;
use std::sync::Mutex;

use aws_sdk_s3::config::{Credentials, Region};
use aws_sdk_s3::presigning::PresigningConfig;
use axum::extract::{Request, State};

use super::*;

const BUCKET: &str = "local-media";

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Media:
    Type: AWS::S3::Bucket
    Properties:
      CorsConfiguration:
        CorsRules: [{AllowedOrigins: ['*'], AllowedMethods: [GET, POST]}]
  Worker:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: worker}}
    Properties:
      CodeUri: .
      Handler: bootstrap
      Runtime: provided.al2023
      Environment:
        Variables:
          BUCKET: !Ref Media
          PUBLIC_S3: !Sub 'https://s3.${AWS::Region}.${AWS::URLSuffix}'
"#;

/// The stack of the template, whose functions run elsewhere, and the environment that they get.
async fn start(more: &[&str]) -> (Stack, String, BTreeMap<String, String>) {
    let dir = tempfile::tempdir().expect("a directory");
    let template = dir.path().join("template.yaml");
    std::fs::write(&template, TEMPLATE).expect("written");
    let template = template.display().to_string();
    let args = ["samovar", "--port", "0", "--ephemeral", "--invoke-endpoint", "http://127.0.0.1:9", "--template"];
    let args = args.iter().copied().chain([template.as_str()]).chain(more.iter().copied());
    let options = Options::from_args(args, &Defaults::default()).expect("options");
    let stack = Stack::start(&options).await.expect("a stack");
    let ready: serde_json::Value = serde_json::from_str(&stack.ready_line()).expect("JSON");
    let url = ready["url"].as_str().expect("an address").to_owned();
    let environment = reqwest::get(format!("{url}/_local/environment")).await.expect("an answer").text().await;
    let environment = environment.expect("a body");
    let pairs = environment.lines().filter_map(|line| line.split_once('='));
    (stack, url, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[tokio::test]
async fn a_stack_stores_a_file_and_serves_it_at_a_presigned_url() {
    let (stack, url, environment) = start(&[]).await;
    assert_eq!(environment["BUCKET"], BUCKET);
    assert_eq!((&environment["AWS_ENDPOINT_URL_S3"], &environment["PUBLIC_S3"]), (&url, &url));
    assert_eq!(environment["AWS_ENDPOINT_URL"], format!("{url}/_aws/others"));
    let get = |name: &str| environment[name].clone();
    let token = Some(get("AWS_SESSION_TOKEN"));
    let credentials = Credentials::new(get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"), token, None, "tests");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version_latest()
        .region(Region::new("us-east-1"))
        .endpoint_url(&url)
        .credentials_provider(credentials);
    let client = aws_sdk_s3::Client::from_conf(config.build());
    let put = client.put_object().bucket(BUCKET).key("uploads/1").content_type("image/png");
    put.body(b"meow".to_vec().into()).send().await.expect("stored");

    let for_a_minute = PresigningConfig::expires_in(Duration::from_secs(60)).expect("a time");
    let get = client.get_object().bucket(BUCKET).key("uploads/1").presigned(for_a_minute).await;
    let get = get.expect("an address");
    assert!(get.uri().starts_with(&format!("{url}/{BUCKET}/uploads/1?")), "{}", get.uri());
    let got = reqwest::Client::new().get(get.uri()).header("origin", "http://localhost").send().await;
    let got = got.expect("an answer");
    assert_eq!(
        (&got.headers()["content-type"], &got.headers()["access-control-allow-origin"]),
        (&"image/png".parse().expect("a value"), &"*".parse().expect("a value"))
    );
    assert_eq!(got.text().await.expect("a body"), "meow");

    let state: serde_json::Value =
        reqwest::get(format!("{url}/_local/state")).await.expect("an answer").json().await.expect("JSON");
    let calls = &state["bill"]["calls"]["invoke-endpoint"]["s3"];
    assert_eq!((&calls["PutObject"], &calls["GetObject"]), (&1.into(), &1.into()));
    stack.stop(std::future::pending()).await;
}

#[tokio::test]
async fn with_another_emulators_s3_no_s3_is_embedded() {
    type Seen = Arc<Mutex<Vec<String>>>;
    let seen = Seen::default();
    let record = |State(seen): State<Seen>, request: Request| async move {
        seen.lock().expect("seen").push(format!("{} {}", request.method(), request.uri()));
    };
    let router = axum::Router::new().fallback(record).with_state(Arc::clone(&seen));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let elsewhere = format!("http://{}", listener.local_addr().expect("its address"));
    tokio::spawn(crate::server::serve(listener, router, None, CancellationToken::new()));

    let (stack, url, environment) = start(&["--s3-endpoint-url", &elsewhere]).await;
    assert_eq!((&environment["AWS_ENDPOINT_URL_S3"], &environment["PUBLIC_S3"]), (&elsewhere, &elsewhere));
    assert_eq!(*seen.lock().expect("seen"), [format!("PUT /{BUCKET}")]);
    let get = reqwest::get(format!("{url}/{BUCKET}/a")).await.expect("an answer");
    assert_eq!(get.status(), 404);
    stack.stop(std::future::pending()).await;

    // An emulator of all services gets the calls to those that the stack does not have. The functions are here.
    let (stack, url, environment) = start(&["--aws-endpoint-url", &elsewhere]).await;
    assert_eq!(environment["AWS_ENDPOINT_URL"], elsewhere);
    assert_eq!(environment["AWS_ENDPOINT_URL_LAMBDA"], format!("{url}/_aws/others"));
    stack.stop(std::future::pending()).await;
}
