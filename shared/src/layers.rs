//! Tests the layers of this library: no module uses one that uses it, and only the edges know the outside.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The one module that may use each of these crates.
const EDGES: [(&str, &str); 3] =
    [("lambda_runtime", "lambda.rs"), ("aws_lambda_events", "lambda.rs"), ("utoipa", "protocol/message.rs")];

/// Source files by their path below `src`, without their tests and comments.
fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path: PathBuf = entry.expect("an entry").path();
            let name = path.strip_prefix(&root).expect("below it").to_string_lossy().replace('\\', "/");
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with("testing/") && !name.contains("tests") && name != "layers.rs" {
                let text = std::fs::read_to_string(&path).expect("a text");
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                sources.insert(name, lines.collect::<Vec<_>>().join("\n"));
            }
        }
    }
    sources
}

/// The names after each `crate::`, one or several in braces.
fn used(text: &str) -> BTreeSet<String> {
    let name =
        |text: &str| text.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned);
    let after = text.split("crate::").skip(1);
    after
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default().split(',').filter_map(name).collect(),
            None => name(rest).into_iter().collect::<Vec<_>>(),
        })
        .collect()
}

fn module(path: &str) -> &str {
    path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

#[test]
fn no_module_stands_on_one_that_stands_on_it() {
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let sources = sources();
    let modules: BTreeSet<&str> = sources.keys().map(|path| module(path)).collect();
    for (path, text) in &sources {
        let used = used(text).into_iter().filter(|used| modules.contains(used.as_str()) && used != module(path));
        below.entry(module(path).to_owned()).or_default().extend(used);
    }
    assert!(below["lambda"].contains("app") && below["answer"].contains("messages"), "{below:?}");
    // Removes the modules that use nothing that is left, until nothing is left, or only circles and the modules above
    // them.
    while let Some(free) = below.iter().find(|(_, used)| used.is_empty()).map(|(module, _)| module.clone()) {
        below.remove(&free);
        for used in below.values_mut() {
            used.remove(&free);
        }
    }
    assert!(below.is_empty(), "In a circle, or above one: {below:#?}");
}

#[test]
fn only_the_edges_know_of_lambda_and_of_openapi() {
    for (path, text) in sources() {
        for (outside, edge) in EDGES {
            assert!(path == edge || !text.contains(outside), "{path} knows of {outside}");
        }
    }
}
