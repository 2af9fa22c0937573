//! The patches of `tests/planted` fit the sources, so `tests/planted.sh` can plant each of them. They are checked
//! without git or patch, which a machine may not have.

use std::collections::BTreeMap;
use std::fs;

use e2e::workspace;

/// The parts of a unified diff: each file with the texts that its hunks expect and what they make of them.
fn hunks(patch: &str) -> Vec<(&str, String, String)> {
    let mut hunks: Vec<(&str, String, String)> = Vec::new();
    let mut file = "";
    for line in patch.lines() {
        if let Some(path) = line.strip_prefix("+++ b/") {
            file = path;
        } else if line.starts_with("@@ ") {
            hunks.push((file, String::new(), String::new()));
        } else if let Some((_, before, after)) = hunks.last_mut()
            && !line.starts_with("--- a/")
        {
            let (mark, text) = line.split_at_checked(1).unwrap_or((" ", ""));
            for (side, is_in) in [(before, mark != "+"), (after, mark != "-")] {
                if is_in {
                    side.push_str(text);
                    side.push('\n');
                }
            }
        }
    }
    hunks
}

#[test]
fn every_planted_bug_fits_the_sources_and_says_what_it_breaks() {
    let folder = workspace().join("tests/planted");
    let table = fs::read_to_string(workspace().join("docs/testing.md")).expect("docs/testing.md");
    let (mut names, mut wrong) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).expect("tests/planted") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        let patch = fs::read_to_string(&path).expect("a patch");
        for head in ["# Promise: ", "# Check: cargo test --workspace --locked "] {
            if !patch.lines().any(|line| line.starts_with(head)) {
                wrong.push(format!("{name} has no line `{head}…`"));
            }
        }
        if !table.contains(&format!("| `{name}` |")) {
            wrong.push(format!("docs/testing.md does not list {name}; tests/planted.sh --table prints the table"));
        }
        let hunks = hunks(&patch);
        if hunks.is_empty() {
            wrong.push(format!("{name} changes nothing"));
        }
        let mut files = BTreeMap::new();
        for (file, before, after) in hunks {
            let text: &mut String = files.entry(file).or_insert_with(|| {
                fs::read_to_string(workspace().join(file)).unwrap_or_else(|error| panic!("{name}: {file}: {error}"))
            });
            match text.matches(&before).count() {
                1 => *text = text.replacen(&before, &after, 1),
                times => wrong.push(format!("{name}: a hunk fits {times} times into {file}")),
            }
        }
        names.push(name);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(names.len() > 100, "{names:?}");
}
