//! Functions in each language, built and run by a whole stack. A test says so and passes where its language, or the
//! index of the language's packages, is not there.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use futures_util::SinkExt as _;
use samovar_host::InvokeError;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// A stack with the function `Hello`, whose folder has these files.
struct Project {
    stack: Stack,
    dir: tempfile::TempDir,
}

impl Project {
    async fn start(runtime: &str, metadata: &str, files: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(&[], runtime, metadata, files).await
    }

    async fn start_with(more: &[&str], runtime: &str, metadata: &str, files: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let template = dir.path().join("template.yaml");
        let function = format!(
            "Resources:\n  Hello:\n    Type: AWS::Serverless::Function\n    Metadata: {{{metadata}}}\n    Properties: \
             {{CodeUri: hello, Handler: app.handler, Runtime: {runtime}, Timeout: 30}}\n"
        );
        std::fs::write(&template, format!("Transform: AWS::Serverless-2016-10-31\n{function}"))?;
        for (path, text) in files {
            let path = dir.path().join("hello").join(path);
            std::fs::create_dir_all(path.parent().unwrap())?;
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        let arguments = ["samovar", "--port", "0", "--ephemeral", "--template", template.to_str().unwrap()];
        let arguments = arguments.iter().chain(more);
        let stack = Stack::start(&Options::from_args(arguments, &Defaults::default())?).await?;
        Ok(Self { stack, dir })
    }

    /// Changes a source, as the user does in an editor.
    fn edit(&self, path: &str, from: &str, to: &str) {
        let path = self.dir.path().join("hello").join(path);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Invokes the function until it answers in this way.
    async fn greets(&self, greeting: &str) {
        let greets = async {
            while self.invoke(r#"{"name":"Zoë"}"#).await.unwrap()["hello"] != greeting {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(format!("it says {greeting}"), greets).await;
    }

    /// The function greets by name, and after this edit with `Hi` before it. No invocation fails.
    async fn check_reloading(self, path: &str, from: &str, to: &str) {
        self.greets("Zoë").await;
        self.edit(path, from, to);
        self.greets("Hi Zoë").await;
        assert_eq!(self.stack.host.as_ref().unwrap().state()["Hello"].errors, 0);
        self.stack.stop(pending()).await;
    }

    async fn invoke(&self, event: &str) -> Result<Value, Value> {
        let host = self.stack.host.as_ref().unwrap();
        match host.invoke("Hello", event.to_owned().into(), Some("Root=1-2-3;Sampled=0".to_owned())).await {
            Ok(answer) => Ok(serde_json::from_slice(&answer).unwrap()),
            Err(InvokeError::FunctionError { payload }) => Err(serde_json::from_slice(&payload).unwrap()),
            Err(unexpected) => panic!("{unexpected}"),
        }
    }

    /// It answers, it reports an error, and it goes on.
    async fn check(self, execution_environment: Option<&str>) {
        let answer = self.invoke(r#"{"name":"Zoë"}"#).await.unwrap();
        let expected = json!({
            "hello": "Zoë",
            "function": "local-Hello",
            "handler": "app.handler",
            "executionEnvironment": execution_environment,
            "trace": "Root=1-2-3;Sampled=0",
        });
        assert_eq!(answer, expected);
        let error = self.invoke(r#"{"fail":true}"#).await.unwrap_err();
        assert_eq!((&error["errorMessage"], &error["errorType"]), (&json!("as told"), &json!("Error")));
        assert_eq!(self.invoke(r#"{"name":"x"}"#).await.unwrap()["hello"], "x");
        let state = self.stack.host.as_ref().unwrap().state();
        assert_eq!((state["Hello"].cold_starts, state["Hello"].errors), (1, 1));
        self.stack.stop(pending()).await;
    }
}

/// Whether this command succeeds. If not, the test is skipped with a word.
pub(super) fn there_is(what: &str, command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = status.is_ok_and(|status| status.success());
    if !there {
        eprintln!("skipped: there is no {what} here");
    }
    there
}

/// A runtime in POSIX shell, as AWS's own tutorial has it: `curl` and `HOST:PORT`.
const SHELL: &str = r#"#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  headers="$(mktemp)"
  event="$(curl -sS -D "$headers" "$api/next")" || exit 1
  header() { grep -i "^$1:" "$headers" | tr -d '\r' | cut -d ' ' -f 2-; }
  id="$(header lambda-runtime-aws-request-id)"; trace="$(header lambda-runtime-trace-id)"
  rm "$headers"
  name="$(printf %s "$event" | sed -n 's/.*"name":"\([^"]*\)".*/\1/p')"
  answer="{\"hello\":\"$name\",\"function\":\"$AWS_LAMBDA_FUNCTION_NAME\",\"handler\":\"$_HANDLER\","
  answer="$answer\"trace\":\"$trace\",\"executionEnvironment\":${AWS_EXECUTION_ENV:-null}}"
  case "$event" in
    *fail*) curl -sS -d '{"errorMessage":"as told","errorType":"Error"}' "$api/$id/error" ;;
    *) curl -sS -d "$answer" "$api/$id/response" ;;
  esac
done
"#;

#[tokio::test]
async fn a_program_that_is_there_runs_as_it_is() {
    if there_is("curl", Command::new("curl").arg("--version")) {
        Project::start("provided.al2023", "", &[("bootstrap", SHELL)]).await.unwrap().check(None).await;
    }
}

#[tokio::test]
async fn a_makefile_builds_the_program() {
    if there_is("curl", Command::new("curl").arg("--version"))
        && there_is("make", Command::new("make").arg("--version"))
    {
        let makefile = "build-Hello:\n\tcp main.sh $(ARTIFACTS_DIR)/bootstrap\n";
        let files = [("main.sh", SHELL), ("Makefile", makefile)];
        Project::start("provided.al2", "BuildMethod: makefile", &files).await.unwrap().check(None).await;
    }
}

#[tokio::test]
async fn a_rust_package_needs_no_binary_in_the_template_and_is_built_again_when_it_is_edited() {
    let manifest = "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n";
    let own_target = "[build]\ntarget-dir = \"target\"\n";
    let files = [
        ("Cargo.toml", manifest),
        (".cargo/config.toml", own_target),
        ("src/main.rs", include_str!("languages/hello.rs")),
    ];
    let method = "BuildMethod: rust-cargolambda";
    Project::start("provided.al2023", method, &files).await.unwrap().check(None).await;
    let project = Project::start_with(&["--watch"], "provided.al2023", method, &files).await.unwrap();
    project.check_reloading("src/main.rs", r#"{{"hello":"{name}""#, r#"{{"hello":"Hi {name}""#).await;
}

#[tokio::test]
async fn a_function_in_go_is_built_and_run() {
    if there_is("Go", Command::new("go").arg("version")) {
        let files = [("go.mod", "module hello\n\ngo 1.20\n"), ("main.go", include_str!("languages/hello.go"))];
        Project::start("provided.al2023", "", &files).await.unwrap().check(None).await;
    }
}

pub(super) fn there_is_node() -> bool {
    there_is("Node.js with npm", Command::new("npm").arg("--version"))
        && there_is("package index for Node.js", Command::new("npm").args(["view", "aws-lambda-ric", "version"]))
}

/// The runtime of this machine's Python, if there are Python and its packages.
pub(super) fn python() -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--no-deps", "--quiet", "awslambdaric", "-d"]).arg(dir.path());
    if !there_is("Python with venv", Command::new("python3").args(["-m", "venv", "--help"]))
        || !there_is("package index for Python", &mut pip)
    {
        return None;
    }
    let version = Command::new("python3").args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).output();
    Some(format!("python{}", String::from_utf8(version.unwrap().stdout).unwrap().trim()))
}

#[tokio::test]
async fn a_function_in_python_runs_with_its_packages_and_again_when_it_is_edited() {
    let Some(runtime) = python() else { return };
    let app = r#"
import os
import boto3  # Lambda has it for every function.
import greeting  # From the requirements.

class Error(Exception):
    pass

def handler(event, context):
    print("handling", event)
    if event.get("fail"):
        raise Error("as told")
    return greeting.for_name(event["name"]) | {
        "function": context.function_name,
        "handler": os.environ["_HANDLER"],
        "executionEnvironment": os.environ.get("AWS_EXECUTION_ENV"),
        "trace": os.environ["_X_AMZN_TRACE_ID"],
    }
"#;
    let project = "[project]\nname = \"greeting\"\nversion = \"1.0\"\n[tool.setuptools]\npy-modules = [\"greeting\"]\n";
    let files = [
        ("app.py", app),
        ("requirements.txt", "./greeting_package\n"),
        ("greeting_package/pyproject.toml", project),
        ("greeting_package/greeting.py", "def for_name(name):\n    return {\"hello\": name}\n"),
    ];
    let project = Project::start(&runtime, "", &files).await.unwrap();
    let left: Vec<_> =
        std::fs::read_dir(project.dir.path().join("hello")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name == "__pycache__"), "{left:?}");
    project.check(Some(&format!("AWS_Lambda_{runtime}"))).await;
    let app = "def handler(event, context):\n    return {\"hello\": event[\"name\"]}\n";
    let project = Project::start_with(&["--watch"], &runtime, "", &[("app.py", app)]).await.unwrap();
    project.check_reloading("app.py", "event[", "\"Hi \" + event[").await;
}

#[tokio::test]
async fn a_function_in_python_calls_functions_and_no_call_leaves_for_aws() {
    let Some(runtime) = python() else { return };
    let app = r#"
import base64, json
import boto3
from botocore.exceptions import ClientError

def refused(call, **given):
    try:
        call(**given)
    except ClientError as error:
        metadata = error.response["ResponseMetadata"]
        return [metadata["HTTPStatusCode"], error.response["Error"]["Code"], error.response["Error"]["Message"]]

def handler(event, context):
    if "echo" in event:
        print("echoing")
        if event["echo"] == "fail":
            raise ValueError("as told")
        return {"echo": event["echo"], "client": getattr(context.client_context, "custom", None)}
    client = boto3.client("lambda")
    invoke = lambda payload, **more: client.invoke(FunctionName=event["call"], Payload=json.dumps(payload), **more)
    try:
        answer = invoke({"echo": 1}, LogType="Tail", ClientContext=base64.b64encode(b'{"custom":{"a":"b"}}').decode())
    except ClientError:
        return refused(invoke, payload={})
    failed = invoke({"echo": "fail"})
    return {
        "answer": json.load(answer["Payload"]),
        "status": [answer["StatusCode"], answer["ExecutedVersion"], answer.get("FunctionError")],
        "log": base64.b64decode(answer["LogResult"]).decode(),
        "failed": [failed["FunctionError"], json.load(failed["Payload"])["errorType"]],
        "dry": invoke({}, InvocationType="DryRun")["StatusCode"],
        "event": invoke({"echo": 2}, InvocationType="Event")["StatusCode"],
        "none": refused(client.invoke, FunctionName="none")[:2],
        "others": [
            refused(boto3.client("ses").list_identities),
            refused(boto3.client("secretsmanager").list_secrets),
            refused(boto3.client("cloudwatch").list_metrics),
            refused(boto3.client("ec2").describe_vpcs),
            refused(boto3.client("route53").list_hosted_zones),
            refused(client.list_functions),
        ],
    }
"#;
    // Two processes: one calls, and the other is called.
    let start = async |more: &[&str]| Project::start_with(more, &runtime, "", &[("app.py", app)]).await.unwrap();
    let project = start(&["--no-iam"]).await;
    let told = project.invoke(r#"{"call":"local-Hello"}"#).await.unwrap();
    assert_eq!(told["answer"], json!({"echo": 1, "client": {"a": "b"}}));
    assert_eq!(told["status"], json!([200, "$LATEST", null]));
    assert!(told["log"].as_str().unwrap().contains("echoing\n"), "{told}");
    assert_eq!(told["failed"], json!(["Unhandled", "ValueError"]));
    assert_eq!((&told["dry"], &told["event"]), (&json!(204), &json!(202)));
    assert_eq!(told["none"], json!([404, "ResourceNotFoundException"]));
    for (service, told) in
        ["ses", "secretsmanager", "monitoring", "ec2", "route53"].iter().zip(told["others"].as_array().unwrap())
    {
        assert_eq!((&told[0], &told[1]), (&json!(501), &json!("NotImplementedException")));
        assert!(told[2].as_str().unwrap().starts_with(&format!("The local stack has no {service}, ")), "{told}");
    }
    assert_eq!(told["others"][5][2], "The local stack has only the call Invoke of lambda");
    project.stack.stop(pending()).await;

    let project = start(&[]).await;
    let refused = project.invoke(r#"{"call":"local-Hello"}"#).await.unwrap();
    assert_eq!((&refused[0], &refused[1]), (&json!(403), &json!("AccessDeniedException")));
    project.stack.stop(pending()).await;
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn connect_to(port: u16) -> tokio::net::TcpStream {
    let connect = async {
        loop {
            match tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    within("the process waits for its debugger", connect).await
}

#[tokio::test]
async fn a_function_in_python_waits_for_its_debugger() {
    let Some(runtime) = python() else { return };
    let app = "def handler(event, context):\n    return context.get_remaining_time_in_millis()\n";
    let port = free_port();
    let arguments = ["--debug", "Hello", "--debug-port", &port.to_string()];
    let project = Project::start_with(&arguments, &runtime, "", &[("app.py", app)]).await.unwrap();
    let debugger = async {
        let mut stream = tokio::io::BufReader::new(connect_to(port).await);
        // The Debug Adapter Protocol, as an editor speaks it.
        for (seq, command) in ["initialize", "attach", "configurationDone"].iter().enumerate() {
            let request =
                json!({"seq": seq, "type": "request", "command": command, "arguments": {"adapterID": "test"}});
            let request = request.to_string();
            let message = format!("Content-Length: {}\r\n\r\n{request}", request.len());
            stream.write_all(message.as_bytes()).await.unwrap();
            if *command == "attach" {
                let mut seen = String::new();
                while !seen.contains(r#""event":"initialized""#) && !seen.contains(r#""event": "initialized""#) {
                    seen.push(char::from(stream.read_u8().await.unwrap()));
                }
            }
        }
        stream
    };
    let (remaining, _stream) = tokio::join!(project.invoke("{}"), within("debugpy takes the debugger", debugger));
    assert!(remaining.unwrap().as_i64().unwrap() > 3_600_000, "nobody is in a hurry");
    project.stack.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn a_function_in_javascript_waits_for_its_debugger() {
    if !there_is_node() {
        return;
    }
    let app = "export const handler = async (event, context) => context.getRemainingTimeInMillis();\n";
    let version = Command::new("node").args(["-p", "process.versions.node.split('.')[0]"]).output().unwrap();
    let runtime = format!("nodejs{}.x", String::from_utf8(version.stdout).unwrap().trim());
    let port = free_port();
    let arguments = ["--debug", "local-Hello", "--debug-port", &port.to_string()];
    let project = Project::start_with(&arguments, &runtime, "", &[("app.mjs", app)]).await.unwrap();
    let debugger = async {
        drop(connect_to(port).await);
        let list: Value =
            reqwest::get(format!("http://127.0.0.1:{port}/json/list")).await.unwrap().json().await.unwrap();
        let url = list[0]["webSocketDebuggerUrl"].as_str().unwrap();
        let (mut inspector, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        for (id, method) in ["Debugger.enable", "Runtime.runIfWaitingForDebugger"].iter().enumerate() {
            let call = json!({"id": id, "method": method}).to_string();
            inspector.send(tokio_tungstenite::tungstenite::Message::text(call)).await.unwrap();
        }
        inspector
    };
    let (remaining, _inspector) = tokio::join!(project.invoke("{}"), within("Node takes the debugger", debugger));
    assert!(remaining.unwrap().as_i64().unwrap() > 3_600_000, "nobody is in a hurry");
    project.stack.stop(std::future::ready(())).await;
}

#[tokio::test]
async fn a_function_in_javascript_runs_with_its_packages_and_the_sdk_of_lambda() {
    if !there_is_node() {
        return;
    }
    let app = r#"
import { SQSServiceException } from "@aws-sdk/client-sqs"; // Lambda has it for every function.
import { greet } from "greeting"; // From its package.json.

export const handler = async (event, context) => {
  console.log("handling", event, SQSServiceException.name);
  if (event.fail) throw new Error("as told");
  return {
    ...greet(event.name),
    function: context.functionName,
    handler: process.env._HANDLER,
    executionEnvironment: process.env.AWS_EXECUTION_ENV,
    trace: process.env._X_AMZN_TRACE_ID,
  };
};
"#;
    let files = [
        ("app.mjs", app),
        ("package.json", r#"{"private":true,"dependencies":{"greeting":"file:./greeting"}}"#),
        ("greeting/package.json", r#"{"name":"greeting","version":"1.0.0"}"#),
        ("greeting/index.js", "exports.greet = (name) => ({ hello: name });"),
    ];
    let version = Command::new("node").args(["-p", "process.versions.node.split('.')[0]"]).output().unwrap();
    let runtime = format!("nodejs{}.x", String::from_utf8(version.stdout).unwrap().trim());
    Project::start(&runtime, "", &files).await.unwrap().check(Some(&format!("AWS_Lambda_{runtime}"))).await;
}

#[tokio::test]
async fn a_function_in_typescript_is_built_by_esbuild_and_again_when_it_is_edited() {
    if !there_is_node() {
        return;
    }
    let app = r#"
import { greet } from "./greeting";

export const handler = async (event: { name: string; fail?: boolean; trace?: boolean }, context: any) => {
  if (event.fail) throw new Error("as told");
  if (event.trace) return { trace: new Error("here").stack };
  return {
    ...greet(event.name),
    function: context.functionName,
    handler: process.env._HANDLER,
    executionEnvironment: process.env.AWS_EXECUTION_ENV,
    trace: process.env._X_AMZN_TRACE_ID,
  };
};
"#;
    let files = [("app.ts", app), ("greeting.ts", "export const greet = (name: string) => ({ hello: name });\n")];
    let version = Command::new("node").args(["-p", "process.versions.node.split('.')[0]"]).output().unwrap();
    let runtime = format!("nodejs{}.x", String::from_utf8(version.stdout).unwrap().trim());
    let metadata = "BuildMethod: esbuild, BuildProperties: {EntryPoints: [app.ts]}";
    let project = Project::start_with(&["--watch"], &runtime, metadata, &files).await.unwrap();
    let trace = project.invoke(r#"{"trace":true}"#).await.unwrap()["trace"].to_string();
    assert!(trace.contains("hello/app.ts:6:"), "the line in the source: {trace}");
    project.check_reloading("greeting.ts", "hello: name", "hello: `Hi ${name}`").await;
    let project = Project::start(&runtime, metadata, &files).await.unwrap();
    project.check(Some(&format!("AWS_Lambda_{runtime}"))).await;
    let wrong = [("app.ts", "export const handler = ;")];
    let error = Project::start(&runtime, metadata, &wrong).await.err().unwrap().to_string();
    assert!(error.starts_with("Function Hello does not build in ") && error.contains("(esbuild: "), "{error}");
}

/// The answer to a name, by the function `Hello` whose code is in the template.
async fn answer_of_inline(runtime: &str, code: &str) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("template.yaml");
    let code = code.lines().map(|line| format!("        {line}\n")).collect::<String>();
    let function = format!(
        "Transform: AWS::Serverless-2016-10-31\nResources:\n  Hello:\n    Type: AWS::Serverless::Function\n    \
         Properties:\n      Handler: index.handler\n      Runtime: {runtime}\n      Timeout: 30\n      InlineCode: |\n{code}"
    );
    std::fs::write(&template, function).unwrap();
    let arguments = ["samovar", "--port", "0", "--ephemeral", "--template", template.to_str().unwrap()];
    let stack = Stack::start(&Options::from_args(arguments, &Defaults::default()).unwrap()).await.unwrap();
    let project = Project { stack, dir };
    let answer = project.invoke(r#"{"name":"Zoë"}"#).await.unwrap();
    project.stack.stop(pending()).await;
    answer
}

#[tokio::test]
async fn python_in_the_template_runs() {
    let Some(runtime) = python() else { return };
    assert_eq!(answer_of_inline(&runtime, "def handler(event, context):\n    return event['name']").await, "Zoë");
}

#[tokio::test]
async fn javascript_in_the_template_runs() {
    if there_is_node() {
        assert_eq!(answer_of_inline("nodejs22.x", "exports.handler = async (event) => event.name;").await, "Zoë");
    }
}

#[tokio::test]
async fn a_function_without_a_program_is_an_error_that_says_what_to_do() {
    let error = Project::start("provided.al2023", "", &[("main.c", "")]).await.err().unwrap().to_string();
    assert!(error.starts_with("Function Hello can't run: there is no ") && error.contains("BuildMethod"), "{error}");
    let path = Path::new("hello/bootstrap").display().to_string();
    assert!(error.contains(&path), "{error}");
}
