//! The program with services of another emulator: a process with an environment of its own.
#![allow(clippy::unwrap_used, reason = "A test that panics has failed, as it should")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc;

use serde_json::Value;

/// A function in POSIX shell whose answer is its credentials and the status of a call that no policy allows.
const FUNCTION: &str = r#"#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  headers="$(mktemp)"
  curl -sS -D "$headers" -o /dev/null "$api/next" || exit 1
  id="$(grep -i ^lambda-runtime-aws-request-id: "$headers" | tr -d '\r' | cut -d ' ' -f 2)"
  rm "$headers"
  signed="Credential=$AWS_ACCESS_KEY_ID/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
  status="$(curl -sS -o /dev/null -w '%{http_code}' -H "authorization: AWS4-HMAC-SHA256 $signed" \
    -H 'x-amz-target: DynamoDB_20120810.ListTables' -d '{}' "$AWS_ENDPOINT_URL_DYNAMODB")"
  answer="$AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY ${AWS_SESSION_TOKEN:-no-token} $status"
  curl -sS -o /dev/null -d "{\"statusCode\":200,\"body\":\"$answer\"}" "$api/$id/response"
done
"#;

const TEMPLATE: &str = "
Transform: AWS::Serverless-2016-10-31
Resources:
  Media: {Type: AWS::S3::Bucket}
  Api: {Type: AWS::Serverless::HttpApi}
  Tell:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: .
      Handler: bootstrap
      Runtime: provided.al2023
      Timeout: 20
      Events: {Any: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: GET, Path: /tell}}}
";

/// Whether there is curl, which the function needs.
fn there_is_curl() -> bool {
    let there = Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("skipped: there is no curl here");
    }
    there
}

/// An S3 that answers everything with 200. The channel gets the head of each request.
fn emulator() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (heads, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            let lines = stream.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            let head = lines.collect::<Vec<_>>().join("\n");
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            if heads.send(head).is_err() {
                return;
            }
        }
    });
    (url, received)
}

struct Samovar {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
    _dir: tempfile::TempDir,
}

impl Samovar {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("template.yaml"), TEMPLATE).unwrap();
        let program = dir.path().join("bootstrap");
        std::fs::write(&program, FUNCTION).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_samovar"));
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            command.env_remove(name);
        }
        command.current_dir(dir.path()).args(["--port", "0", "--ephemeral"]).args(arguments);
        command.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = child.stderr.take().unwrap();
        Self { child, stdout, stderr, _dir: dir }
    }

    /// The address, once the stack can be used.
    fn ready(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_default();
        ready["url"].as_str().unwrap_or_else(|| panic!("not ready: {line}")).to_owned()
    }

    /// Everything that it has written to standard error, after its end.
    fn log(mut self) -> String {
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).unwrap();
        self.child.wait().unwrap();
        log
    }

    fn stop(self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        self.log()
    }
}

impl Drop for Samovar {
    fn drop(&mut self) {
        // After a failed test. Otherwise it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn get(url: &str) -> String {
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn functions_get_the_credentials_that_another_emulator_knows_and_their_policies_are_not_enforced() {
    if !there_is_curl() {
        return;
    }
    let (s3, requests) = emulator();
    let credentials = [("AWS_ACCESS_KEY_ID", "minio-root"), ("AWS_SECRET_ACCESS_KEY", "minio-password")];
    let mut samovar = Samovar::start(&["--s3-endpoint-url", &s3], &credentials);
    let url = samovar.ready();
    let created = requests.recv().unwrap();
    assert!(created.starts_with("PUT /local-media "), "{created}");
    assert!(created.contains("Credential=minio-root/"), "{created}");
    assert_eq!(get(&format!("{url}/tell")).await, "minio-root minio-password no-token 200");
    let environment = get(&format!("{url}/_local/environment")).await;
    assert!(!environment.contains("minio") && !environment.contains("AWS_ACCESS_KEY_ID"), "{environment}");
    let log = samovar.stop();
    assert!(log.contains(&s3) && log.contains("their policies are not enforced"), "{log}");
    assert!(!log.contains("minio-password"), "{log}");
}

#[tokio::test]
async fn without_credentials_functions_have_their_own_and_may_do_what_their_policies_allow() {
    if !there_is_curl() {
        return;
    }
    let (s3, requests) = emulator();
    let mut samovar = Samovar::start(&["--s3-endpoint-url", &s3], &[("AWS_ACCESS_KEY_ID", "")]);
    let url = samovar.ready();
    let created = requests.recv().unwrap();
    assert!(created.contains("Credential=local/"), "{created}");
    let told = get(&format!("{url}/tell")).await;
    assert!(told.starts_with("LOCAL-Tell local local/") && told.ends_with(" 400"), "{told}");
    assert!(get(&format!("{url}/_local/environment")).await.contains("AWS_ACCESS_KEY_ID=LOCAL-"));
    let log = samovar.stop();
    assert!(!log.contains("not enforced") && log.contains("dynamodb:ListTables"), "{log}");
}

#[test]
fn half_of_the_credentials_is_an_error() {
    let samovar = Samovar::start(&["--aws-endpoint-url", "http://127.0.0.1:9"], &[("AWS_ACCESS_KEY_ID", "minio-root")]);
    let log = samovar.log();
    assert!(log.starts_with("error: AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not: "), "{log}");
}
