//! The projects in `examples/`, each run by the real program as its README says.
#![allow(clippy::unwrap_used, reason = "A test that panics has failed, as it should")]

mod broadcast_chat;
mod harness;
mod http_api_table;
mod order_events;
mod rest_hello;
mod s3_trigger;
mod sqs_fan_out;

use std::path::Path;
use std::process::Command;

#[test]
fn every_example_passes_the_check() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let check = Command::new(env!("CARGO_BIN_EXE_samovar")).args(["check", "--table"]).arg(&examples).output().unwrap();
    let table = String::from_utf8(check.stdout).unwrap();
    assert!(check.status.success(), "{table}");
    let folders = std::fs::read_dir(&examples).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(table.lines().filter(|line| line.starts_with("pass")).count(), folders, "{table}");
}
