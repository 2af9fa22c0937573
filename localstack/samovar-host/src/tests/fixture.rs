//! The function under test: this test program, run with `FIXTURE` in its environment, which follows the instructions in
//! the event.
//!
//! Its client of the Runtime API is a few lines over a socket, so that it can also make calls that `lambda_runtime`
//! never makes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

/// The arguments that make the test harness run [`function_process`] and nothing else.
pub(super) fn arguments() -> Vec<String> {
    let path = concat!(module_path!(), "::function_process");
    let (_crate, test) = path.split_once("::").unwrap();
    [test, "--exact", "--nocapture", "--test-threads=1"].map(str::to_owned).into()
}

#[allow(clippy::disallowed_methods, reason = "a function's configuration is its environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Does nothing unless it runs as a function.
#[test]
fn function_process() {
    let Some(mode) = variable("FIXTURE") else { return };
    println!(); // After the harness's own "test … ".
    let mut api = Api::connect();
    match &*mode {
        "serve" => {}
        "exit in init" => {
            eprintln!("no such table: chat");
            std::process::exit(3);
        }
        "error in init" => {
            eprintln!("last words");
            api.call("POST", "/init/error", br#"{"errorType":"Config","errorMessage":"CHAT_TABLE is not set"}"#);
            std::process::exit(1);
        }
        "hang in init" => std::thread::park(),
        "extension" => api.extension(),
        other => panic!("unknown mode {other}"),
    }
    let mut previous = None;
    loop {
        let (_, headers, event) = api.call("GET", "/invocation/next", b"");
        let id = headers["lambda-runtime-aws-request-id"].clone();
        let response = format!("/invocation/{id}/response");
        let event: Value = serde_json::from_slice(&event).unwrap();
        match event["do"].as_str() {
            Some("hold") => {
                let mut gate = TcpStream::connect(event["at"].as_str().unwrap()).unwrap();
                // A test that is not interested may have released us already.
                let _ = writeln!(gate, "{} {id}", api.host);
                let _ = gate.read(&mut [0]);
                api.call("POST", &response, event.to_string().as_bytes());
            }
            Some("exit") => std::process::exit(7),
            Some("panic") => panic!("as told"),
            Some("error") => {
                let report = br#"{"errorMessage":"no","errorType":"Refusal"}"#;
                api.call("POST", &format!("/invocation/{id}/error"), report);
            }
            Some("environment") => {
                #[allow(clippy::disallowed_methods, reason = "the environment is what is tested")]
                let environment: BTreeMap<String, String> = std::env::vars().collect();
                let directory = std::env::current_dir().unwrap();
                let answer = json!({"headers": headers, "environment": environment, "directory": directory});
                api.call("POST", &response, answer.to_string().as_bytes());
            }
            Some("large") => {
                let bytes = usize::try_from(event["bytes"].as_u64().unwrap()).unwrap();
                let answer = format!("{:?}", "x".repeat(bytes - 2));
                let (status, ..) = api.call("POST", &response, answer.as_bytes());
                println!("large response answered with {status}");
            }
            Some("answer for the previous") => {
                let path = format!("/invocation/{}/response", previous.as_deref().unwrap_or("unknown"));
                let (status, _, body) = api.call("POST", &path, b"\"stolen\"");
                let body: Value = serde_json::from_slice(&body).unwrap();
                api.call("POST", &response, json!({"status": status, "body": body}).to_string().as_bytes());
            }
            Some("answer and stay away") => {
                api.call("POST", &response, b"null");
                std::thread::park();
            }
            Some("print after the answer") => {
                api.call("POST", &response, b"null");
                for number in 0..200 {
                    println!("late {number}");
                }
            }
            Some("print") => {
                println!("to standard output");
                println!("an error\r  with its trace\r");
                println!();
                eprintln!("to standard error");
                api.call("POST", &response, b"null");
            }
            _ => {
                let answer = json!({"event": event, "pid": std::process::id()});
                api.call("POST", &response, answer.to_string().as_bytes());
            }
        }
        previous = Some(id);
    }
}

struct Api {
    host: String,
    stream: BufReader<TcpStream>,
}

impl Api {
    fn connect() -> Api {
        let host = variable("AWS_LAMBDA_RUNTIME_API").unwrap();
        let stream = TcpStream::connect(&host).unwrap();
        stream.set_nodelay(true).unwrap();
        Api { host, stream: BufReader::new(stream) }
    }

    fn call(&mut self, method: &str, path: &str, body: &[u8]) -> (u16, BTreeMap<String, String>, Vec<u8>) {
        self.request(method, &format!("/2018-06-01/runtime{path}"), body)
    }

    /// Does what `spawn_graceful_shutdown_handler` does: registers, polls for ever, and handles SIGTERM.
    fn extension(&mut self) {
        let (status, headers, _) = self.request("POST", "/2020-01-01/extension/register", br#"{"events":[]}"#);
        assert_eq!(status, 200);
        assert!(headers.contains_key("lambda-extension-identifier"));
        std::thread::spawn(|| Api::connect().request("GET", "/2020-01-01/extension/event/next", b""));
        std::thread::sleep(Duration::from_millis(1));
    }

    fn request(&mut self, method: &str, path: &str, body: &[u8]) -> (u16, BTreeMap<String, String>, Vec<u8>) {
        let (host, length) = (&self.host, body.len());
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request).unwrap();

        let mut line = || {
            let mut line = String::new();
            assert!(self.stream.read_line(&mut line).unwrap() > 0, "the Runtime API has closed the connection");
            line.trim_end().to_owned()
        };
        let status = line().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = BTreeMap::new();
        loop {
            let line = line();
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        (status, headers, body)
    }
}
