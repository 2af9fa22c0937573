//! The options and exit codes of `cargo run`. Each mistake gets one clear sentence.

use std::process::{Command, Output, Stdio};

use e2e::{Client, Stack, StackOptions};

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(e2e::program());
    command.current_dir(e2e::workspace()).args(args).stdin(Stdio::null());
    command.output().expect("the program starts")
}

fn refused(args: &[&str], code: i32, words: &[&str]) {
    let output = run(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
    for word in words {
        assert!(stderr.contains(word), "{args:?}: no {word:?} in: {stderr}");
    }
}

#[tokio::test]
async fn a_taken_port_is_said_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    refused(&["--ephemeral", "--port", &port], 1, &[&port, "taken", "--port"]);
}

#[test]
fn bad_arguments_exit_with_2() {
    for args in [
        &["--no-such-option"][..],
        &["--port", "many"],
        &["--param", "NoValue"],
        &["--aws-endpoint-url", "localhost:4566"],
        &["--ephemeral", "--data-dir", "x"],
    ] {
        refused(args, 2, &["--help"]);
    }
}

#[test]
fn a_parameter_that_does_not_exist_or_fit_is_named() {
    let start = |parameter: &'static str| ["--ephemeral", "--port", "0", "--param", parameter];
    refused(&start("MaxClient=3"), 1, &["MaxClient", "MaxClients"]);
    refused(&start("MaxClients=0"), 1, &["MaxClients", "1"]);
    refused(&start("MockLatencyMs=slow"), 1, &["MockLatencyMs"]);
}

#[test]
fn a_model_or_an_issuer_that_can_not_work_is_refused_before_anything_starts() {
    for (parameters, words) in [
        (&["LlmProvider=openai"][..], &["LlmProvider is openai or bedrock, so LlmModel must name the model"][..]),
        (&["LlmProvider=bedrock", "LlmModel="], &["LlmModel must name the model"]),
        (&["LlmProvider=openai", "LlmModel=m", "LlmBaseUrl=localhost:11434"], &["LlmBaseUrl", "https://"]),
        (&["LlmBaseUrl=http://"], &["LlmBaseUrl", "https://"]),
        (&["LlmBaseUrl="], &["LlmBaseUrl", "https://"]),
        (&["MediaEndpointUrl=minio:9000"], &["MediaEndpointUrl", "https://"]),
        (&["OidcIssuer=example.org", "OidcAudience=a"], &["OidcIssuer", "https://"]),
        (&["OidcIssuer=https://example.org"], &["OidcAudience must be the client id"]),
    ] {
        let parameters = parameters.iter().flat_map(|parameter| ["--param", parameter]);
        let args: Vec<&str> = ["--ephemeral", "--port", "0"].into_iter().chain(parameters).collect();
        refused(&args, 1, words);
        let said = String::from_utf8_lossy(&run(&args).stderr).lines().count();
        assert_eq!(said, 1, "{args:?}: it is one sentence");
    }
}

#[test]
fn a_template_that_is_not_understood_is_an_error_with_its_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("template.yaml");
    let path = path.to_str().expect("UTF-8");
    refused(&["--ephemeral", "--port", "0", "--template", path], 1, &[path]);
    let template = r#"AWSTemplateFormatVersion: "2010-09-09"
Resources:
  Q:
    Type: AWS::SQS::Queue
    Properties:
      Foo: 1
"#;
    std::fs::write(path, template).expect("written");
    refused(&["--ephemeral", "--port", "0", "--template", path], 1, &[&format!("{path}:6"), "Foo"]);
}

#[test]
fn a_function_that_does_not_build_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
    std::fs::create_dir(dir.path().join("src")).expect("made");
    write("Cargo.toml", "[package]\nname = \"broken\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n");
    write("src/main.rs", "fn main() { nonsense }\n");
    write(
        "template.yaml",
        "Transform: AWS::Serverless-2016-10-31
Resources:
  Broken:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda, BuildProperties: { Binary: broken } }
    Properties: { CodeUri: ., Handler: bootstrap, Runtime: provided.al2023 }
",
    );
    let template = dir.path().join("template.yaml");
    let template = template.to_str().expect("UTF-8");
    refused(&["--ephemeral", "--port", "0", "--template", template], 1, &["broken", "nonsense"]);
}

#[tokio::test]
async fn a_data_directory_in_use_is_refused() {
    let data = tempfile::tempdir().expect("a directory");
    let stack = StackOptions::default().data_dir(data.path()).start().await;
    refused(&["--port", "0", "--data-dir", data.path().to_str().expect("UTF-8")], 1, &["in use", "--data-dir"]);
    drop(stack);
}

#[tokio::test]
async fn interrupt_and_terminate_exit_with_0_and_leave_nothing() {
    for signal in ["INT", "TERM"] {
        let mut stack = Stack::quick().await;
        let mut client = Client::connect(&stack, "alice").await;
        client.ask_afresh("hello").await;
        stack.signal(signal);
        assert_eq!(stack.stop(), Some(0), "{}", stack.log());
    }
}

#[tokio::test]
async fn health_is_ok_when_the_ready_line_is_there() {
    let stack = Stack::quick().await;
    assert_eq!(stack.get("/_local/health").await.status().as_u16(), 200);
    assert_eq!(stack.get("/nothing/here").await.status().as_u16(), 404);
    let discovery: serde_json::Value =
        stack.get("/_local/oidc/.well-known/openid-configuration").await.json().await.expect("JSON");
    assert_eq!(discovery["issuer"], format!("{}/_local/oidc", stack.url));
    let keys: serde_json::Value = stack.get("/_local/oidc/jwks.json").await.json().await.expect("JSON");
    assert_eq!(keys["keys"][0]["alg"], "RS256");
}
