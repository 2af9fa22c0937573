//! A function without a single dependency.

use std::env::var;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

fn call(method: &str, path: &str, body: &str) -> (String, String) {
    let api = var("AWS_LAMBDA_RUNTIME_API").unwrap();
    let mut stream = TcpStream::connect(&api).unwrap();
    let head = format!("{method} /2018-06-01/runtime/invocation/{path} HTTP/1.1\r\nhost: {api}\r\nconnection: close\r\n");
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn main() {
    loop {
        let (head, event) = call("GET", "next", "");
        let header = |name: &str| {
            let lines = head.as_bytes().lines().map(Result::unwrap);
            let found = lines.filter_map(|line| line.split_once(": ").map(|(n, v)| (n.to_lowercase(), v.to_owned())));
            found.filter(|(found, _)| found == name).map(|(_, value)| value).next().unwrap()
        };
        let id = header("lambda-runtime-aws-request-id");
        if event.contains("fail") {
            call("POST", &format!("{id}/error"), r#"{"errorMessage":"as told","errorType":"Error"}"#);
            continue;
        }
        let name = event.split("\"name\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let environment = var("AWS_EXECUTION_ENV").map_or("null".to_owned(), |value| format!("{value:?}"));
        let (function, handler) = (var("AWS_LAMBDA_FUNCTION_NAME").unwrap(), var("_HANDLER").unwrap());
        let trace = header("lambda-runtime-trace-id");
        let answer = format!(
            r#"{{"hello":"{name}","function":"{function}","handler":"{handler}","trace":"{trace}","executionEnvironment":{environment}}}"#
        );
        call("POST", &format!("{id}/response"), &answer);
    }
}
