//! The program with and without a place for its certificate authority: a process with an environment of its own.
#![allow(clippy::unwrap_used, reason = "A test that panics has failed, as it should")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const TEMPLATE: &str = "
Transform: AWS::Serverless-2016-10-31
Resources:
  Own:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: .
      Handler: bootstrap
      Runtime: provided.al2023
      Environment: {Variables: {SSL_CERT_FILE: /own/roots.pem}}
";

/// Starts the program with this home, and returns its address.
fn start(dir: &Path, home: Option<&Path>) -> (Child, String) {
    std::fs::write(dir.join("template.yaml"), TEMPLATE).unwrap();
    let mut samovar = Command::new(env!("CARGO_BIN_EXE_samovar"));
    // The functions are elsewhere, so none is built.
    samovar.args(["--port", "0", "--ephemeral", "--invoke-endpoint", "http://127.0.0.1:9"]).current_dir(dir);
    samovar.env_remove("XDG_DATA_HOME").env_remove("HOME").envs(home.map(|home| ("HOME", home)));
    let mut child = samovar.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    (child, ready["url"].as_str().unwrap().to_owned())
}

/// Ends the program, and returns what it has said.
fn end(mut child: Child) -> String {
    child.kill().unwrap();
    child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    said
}

async fn get(url: &str) -> (u16, String) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn with_a_home_the_authority_is_there_and_a_variable_of_the_template_goes_before() {
    let dir = tempfile::tempdir().unwrap();
    let (child, url) = start(dir.path(), Some(&dir.path().join("home")));
    let folder = dir.path().join("home/.local/share/samovar/ca");
    let certificate = std::fs::read_to_string(folder.join("ca.pem")).unwrap();
    assert_eq!(get(&format!("{url}/_local/ca.pem")).await, (200, certificate));
    let environment = get(&format!("{url}/_local/environment")).await.1;
    let has = |line: &str| environment.lines().any(|one| one == line);
    assert!(has("SSL_CERT_FILE=/own/roots.pem"), "{environment}");
    assert!(has(&format!("NODE_EXTRA_CA_CERTS={}", folder.join("ca.pem").display())), "{environment}");
    let said = end(child);
    assert!(!said.contains("https"), "{said}");
}

#[tokio::test]
async fn without_a_home_there_is_no_tls_a_line_says_why_and_the_rest_works() {
    let dir = tempfile::tempdir().unwrap();
    let (child, url) = start(dir.path(), None);
    assert_eq!(get(&format!("{url}/_local/health")).await.0, 200);
    assert_eq!(get(&format!("{url}/_local/ca.pem")).await.0, 404);
    assert!(!get(&format!("{url}/_local/environment")).await.1.contains("NODE_EXTRA_CA_CERTS"));
    assert!(reqwest::get(format!("{}/_local/health", url.replacen("http", "https", 1))).await.is_err());
    let said = end(child);
    assert!(said.contains("https and wss are not served: there is no home directory for its key: set HOME"), "{said}");
}
