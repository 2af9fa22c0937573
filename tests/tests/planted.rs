//! The patches of `tests/planted` fit the sources, so `tests/planted.sh` can plant each of them, and the tests that
//! they name exist. They are checked without git or patch, which a machine may not have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use e2e::workspace;

/// The parts of a unified diff: each file with the texts that its hunks expect and what they make of them.
fn hunks(patch: &str) -> Vec<(&str, String, String)> {
    let mut hunks: Vec<(&str, String, String)> = Vec::new();
    let mut file = "";
    // git writes some lines between the name of a file and its first hunk.
    let lines = patch.lines().filter(|line| !["diff --git ", "index "].iter().any(|head| line.starts_with(head)));
    for line in lines {
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

/// The names of the functions and modules in the Rust sources below `folder`.
fn known_names(folder: &Path) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            known.extend(known_names(&path));
            known.insert(name.to_owned());
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            known.insert(name.to_owned());
            let text = fs::read_to_string(&path).expect("a source");
            known.extend(["fn ", "mod "].iter().flat_map(|head| text.split(head).skip(1)).map(|rest| {
                let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
                rest[..end.unwrap_or(rest.len())].to_owned()
            }));
        }
    }
    known
}

#[test]
fn every_planted_bug_fits_the_sources_and_says_what_it_breaks() {
    let folder = workspace().join("tests/planted");
    let table = fs::read_to_string(workspace().join("docs/testing.md")).expect("docs/testing.md");
    let known: BTreeSet<String> = ["functions", "localstack", "shared", "tests"]
        .iter()
        .flat_map(|part| known_names(&workspace().join(part)))
        .collect();
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
        // The filter of a check may be the beginning of a name. The table has whole names.
        let filter =
            patch.lines().find(|line| line.starts_with("# Check: ")).and_then(|line| line.split(" -- ").nth(1));
        let last = |path: &str| path.rsplit("::").next().unwrap_or_default().to_owned();
        if let Some(start) = filter.map(last)
            && !known.iter().any(|name| name.starts_with(&start))
        {
            wrong.push(format!("{name}: its check names {start}, which is not in the sources"));
        }
        let row = table.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        match row.map(|row| row.split(" | ").collect::<Vec<_>>()).as_deref() {
            Some([_, _, test, _]) if *test == "not run yet" || known.contains(&last(test.trim_matches('`'))) => {}
            Some(row) => {
                wrong.push(format!("{name}: docs/testing.md names a test that is not in the sources: {row:?}"))
            }
            None => wrong.push(format!("docs/testing.md has no row for {name}; `just planted {name}` prints it")),
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
