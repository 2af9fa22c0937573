//! The decisions of the door's hook, without processes. End-to-end tests show the effects on running functions.

use std::sync::Arc;

use bytes::Bytes;
use samovar_services::faults::{Call, Fault, Faults, Heard, Hook as _};
use serde_json::json;

use super::plan::Plan;
use super::{Chaos, DISCONNECT, GATEWAY, Rule};

fn chaos() -> (Arc<Chaos>, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    (Chaos::new(None, Arc::clone(&faults), None).expect("no file is needed"), faults)
}

fn rule(function: &str, event: &str, fault: &str) -> Rule {
    let rule = json!({ "function": function, "event": event, "call": 1, "fault": fault });
    serde_json::from_value(rule).expect("a rule")
}

fn disconnect(connection: &str) -> Call {
    let body = json!({ "connectionId": connection }).to_string().into();
    Call {
        number: 0,
        caller: "disconnect".into(),
        instance: None,
        service: GATEWAY,
        operation: DISCONNECT.into(),
        body,
    }
}

fn write(number: u64) -> Call {
    Call {
        number,
        caller: "worker".into(),
        instance: None,
        service: "dynamodb",
        operation: "TransactWriteItems".into(),
        body: Bytes::from_static(br#"{"TransactItems":[{},{},{}]}"#),
    }
}

async fn dropped(chaos: &Chaos, call: Call) -> bool {
    chaos.decide(call).await.dropped
}

#[tokio::test]
async fn a_rule_is_met_once_by_the_event_that_it_names() {
    let (chaos, _) = chaos();
    chaos.add(rule("disconnect", "connection-2", "no_disconnect"));
    assert!(!dropped(&chaos, disconnect("connection-1")).await);
    assert!(dropped(&chaos, disconnect("connection-2")).await);
    assert!(!dropped(&chaos, disconnect("connection-2")).await);
    let state = chaos.lock();
    assert!(state.rules[0].met);
    assert_eq!((state.log.len(), state.log[0].call), (1, 2));
}

#[tokio::test]
async fn a_log_that_is_replayed_decides_the_same_again() {
    let (chaos, _) = chaos();
    let all = async || {
        for number in 0..500 {
            let _: Fault = chaos.decide(write(number)).await;
        }
        chaos.lock().log.clone()
    };
    let kinds = Some(vec![super::Kind::Conflict, super::Kind::Refused]);
    chaos.follow(Plan::Seed { seed: 3, rate: 0.1, kinds });
    let first = all().await;
    assert!(first.len() > 20, "{first:?}");
    chaos.follow(Plan::replay(first.clone()));
    assert_eq!(all().await, first);
}

#[tokio::test]
async fn a_conflict_names_a_reason_for_each_item_of_the_transaction() {
    let (chaos, _) = chaos();
    chaos.add(rule("worker", "", "conflict"));
    let fault = chaos.decide(write(0)).await;
    let Heard::Instead(answer) = fault.heard else { panic!("{:?}", fault.heard) };
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let codes: Vec<_> =
        body["CancellationReasons"].as_array().expect("reasons").iter().map(|reason| &reason["Code"]).collect();
    assert!(fault.dropped);
    assert_eq!(codes, ["None", "None", "TransactionConflict"]);
}

#[tokio::test]
async fn after_the_end_there_are_no_faults_and_the_log_is_still_there() {
    let (chaos, faults) = chaos();
    chaos.add(rule("worker", "", "refused"));
    assert!(dropped(&chaos, write(0)).await);
    chaos.add(rule("worker", "", "refused"));
    chaos.end();
    assert!(!dropped(&chaos, write(1)).await);
    assert_eq!(chaos.lock().log.len(), 1);
    // The door does not even ask.
    assert!(format!("{faults:?}").contains("None"), "{faults:?}");
}

#[tokio::test]
async fn decisions_are_appended_to_a_file_of_the_data_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    for _ in 0..2 {
        let chaos = Chaos::new(None, Arc::default(), Some(dir.path())).expect("a file");
        chaos.add(rule("worker", "", "throttled"));
        assert!(dropped(&chaos, write(0)).await);
    }
    let log = std::fs::read_to_string(dir.path().join(super::LOG_FILE)).expect("a log");
    let line =
        r#"{"function":"worker","service":"dynamodb","operation":"TransactWriteItems","call":1,"fault":"throttled"}"#;
    assert_eq!(log.lines().collect::<Vec<_>>(), [line, line]);
}
