//! The documentation shows what exists, and its examples work.

use std::process::Command;

use e2e::{Stack, workspace};

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_client_that_is_shown_is_the_one_that_is_there() {
    let shown = format!("```js\n{}```\n", read("docs/client.js"));
    assert!(read("docs/protocol.md").contains(&shown), "docs/protocol.md must show docs/client.js as it is");
}

/// Node, if it is installed. Before version 22, its WebSocket needs an option.
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
        println!("Node is not installed; install Node.js to run the example client");
        return;
    };
    let stack = Stack::quick().await;
    stack.with_console();
    node.current_dir(workspace()).args(["docs/client.js", &stack.url, "hello there"]);
    let output = tokio::task::spawn_blocking(move || node.output()).await.expect("no panic").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "response for hello there\n", "{}", String::from_utf8_lossy(&output.stderr));
}

/// These begin keys of objects and are not folders.
const KEY_PREFIXES: [&str; 2] = ["media/", "uploads/"];

fn is_path(text: &str) -> bool {
    text.contains('/')
        && !text.starts_with('/')
        && !KEY_PREFIXES.contains(&text)
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
}

#[test]
fn every_path_that_the_architecture_names_is_there() {
    let text = read("ARCHITECTURE.md");
    let (layout, prose) = text.split_once("```text\n").and_then(|(_, rest)| rest.split_once("```")).expect("a layout");
    let mut paths: Vec<String> =
        prose.split('`').skip(1).step_by(2).filter(|text| is_path(text)).map(str::to_owned).collect();
    let mut folder = "";
    for line in layout.lines() {
        let name = line.split_whitespace().next().expect("a name").trim_end_matches("NAME/");
        if line.starts_with(' ') {
            paths.push(format!("{folder}{name}"));
        } else {
            folder = name;
            paths.push(name.to_owned());
        }
    }
    assert!(paths.len() > 40, "{paths:?}");
    let missing: Vec<_> = paths.iter().filter(|path| !workspace().join(path).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
}
