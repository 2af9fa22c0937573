//! What the documentation shows is what there is, and works.

use std::process::Command;

use tests::{Stack, workspace};

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_client_that_is_shown_is_the_one_that_is_there() {
    let shown = format!("```js\n{}```\n", read("docs/client.js"));
    assert!(read("docs/protocol.md").contains(&shown), "docs/protocol.md must show docs/client.js as it is");
}

/// Where there is Node. One older than 22 has its WebSocket behind an option.
fn node() -> Option<Command> {
    let has_websocket = Command::new("node").args(["-p", "typeof WebSocket"]).output().ok()?;
    let mut node = Command::new("node");
    if String::from_utf8_lossy(&has_websocket.stdout).trim() == "undefined" {
        node.arg("--experimental-websocket");
    }
    Some(node)
}

#[tokio::test]
async fn the_minimal_client_gets_its_answer() {
    let Some(mut node) = node() else {
        println!("There is no Node here to run it with");
        return;
    };
    let stack = Stack::quick().await;
    node.current_dir(workspace()).args(["docs/client.js", &stack.url, "hello there"]);
    let output = tokio::task::spawn_blocking(move || node.output()).await.expect("no panic").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "response for hello there\n", "{}", String::from_utf8_lossy(&output.stderr));
}
