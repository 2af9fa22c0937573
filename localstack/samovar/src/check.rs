//! `samovar check`: reads templates and shows everything that there is to say about them.
//!
//! A template passes if nothing in it is wrong and everything is served. Parameters without a default are shown, but
//! they are the run's to give.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use samovar_template::{Findings, Locals, TemplateProblem};

use crate::options::Check;
use crate::stack;

/// Folders that hold copies and other people's templates.
const SKIPPED: [&str; 5] = [".aws-sam", ".git", "cdk.out", "node_modules", "target"];

/// How many templates of one argument pass.
#[derive(Debug, Default)]
struct Row {
    passed: usize,
    /// These pass if parts of them may be missing.
    in_part: usize,
    all: usize,
}

/// Reads the templates and writes the findings. Fails if a template has an error, or cannot be read.
pub(crate) fn run(check: &Check, out: &mut impl Write) -> ExitCode {
    match write(check, out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(check: &Check, out: &mut impl Write) -> std::io::Result<bool> {
    let locals =
        stack::locals("http://127.0.0.1:8000/_aws/sqs", "http://127.0.0.1:8000/_local/oidc", check.allow_missing);
    let lenient = Locals { allow_missing: true, ..locals.clone() };
    let overrides = check.params.iter().cloned().collect();
    let mut rows: Vec<(&Path, Row)> = Vec::new();
    for path in &check.paths {
        let mut row = Row::default();
        for template in templates(path)? {
            let findings = findings(&template, &overrides, &locals);
            let passes = |findings: &[Finding]| findings.iter().all(|(_, kind, _)| *kind > Kind::NotServed);
            let status = if passes(&findings) {
                Status::Pass
            } else if passes(&self::findings(&template, &overrides, &lenient)) {
                Status::Part
            } else {
                Status::Fail
            };
            row.all += 1;
            row.passed += usize::from(status == Status::Pass);
            row.in_part += usize::from(status == Status::Part);
            match check.table {
                true => write_row(&template, status, &findings, out)?,
                false => write_all(&template, &findings, out)?,
            }
        }
        rows.push((path, row));
    }
    let width = rows.iter().map(|(path, _)| path.display().to_string().len()).max().unwrap_or(0);
    for (path, Row { passed, in_part, all }) in &rows {
        let in_part = match in_part {
            0 => String::new(),
            _ => format!(", {in_part} more could run in part"),
        };
        writeln!(out, "{:width$}  {passed} of {all} pass{in_part}", path.display().to_string())?;
    }
    Ok(rows.iter().all(|(_, row)| row.passed == row.all))
}

/// What a run would make of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Pass,
    /// It runs with `--allow-missing`.
    Part,
    Fail,
}

/// The line, the kind and the text of a finding.
type Finding = (usize, Kind, String);

/// How much a finding matters, in the order in which a line's findings are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The template is wrong, or needs something that is not here.
    Error,
    /// The template is right, but the stack does not serve this.
    NotServed,
    /// The run must give it.
    Needed,
    /// It has no effect here.
    Note,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::NotServed => "not served",
            Self::Needed => "needed",
            Self::Note => "note",
        }
    }
}

/// A template's findings, in the order of the lines.
fn findings(path: &Path, overrides: &BTreeMap<String, String>, locals: &Locals) -> Vec<Finding> {
    let Findings { errors, needed, notes, template } = match samovar_template::check(path, overrides, locals) {
        Ok(findings) => findings,
        Err(error) => return vec![(1, Kind::Error, format!("{error}: {}", source(&error)))],
    };
    let unserved = template.as_ref().map(|template| stack::unserved(template, false)).unwrap_or_default();
    let conflicts = template.as_ref().map(stack::conflicts).unwrap_or_default();
    // What may be left out is only told.
    let unserved_kind = if locals.allow_missing { Kind::Note } else { Kind::NotServed };
    let kinds = [
        (errors, Kind::Error),
        (conflicts, Kind::NotServed),
        (unserved, unserved_kind),
        (needed, Kind::Needed),
        (notes, Kind::Note),
    ];
    let found = kinds.into_iter().flat_map(|(problems, kind)| {
        problems.into_iter().map(move |TemplateProblem { line, message }| (line, kind, message))
    });
    let passed_over = template.and_then(|template| template.passed_over_line());
    let mut found: Vec<_> = found.chain(passed_over.map(|line| (1, Kind::Note, line))).collect();
    found.sort();
    found
}

fn write_all(path: &Path, findings: &[Finding], out: &mut impl Write) -> std::io::Result<()> {
    for (line, kind, message) in findings {
        writeln!(out, "{}:{line}: {}: {message}", path.display(), kind.name())?;
    }
    Ok(())
}

/// Whether the template passes, and the first reason why it does not.
fn write_row(path: &Path, status: Status, findings: &[Finding], out: &mut impl Write) -> std::io::Result<()> {
    let mut reasons = findings.iter().filter(|(_, kind, _)| *kind <= Kind::NotServed);
    let Some((line, kind, message)) = reasons.next() else { return writeln!(out, "pass  {}", path.display()) };
    let more = match reasons.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let status = if status == Status::Part { "part" } else { "fail" };
    writeln!(out, "{status}  {}:{line}: {}: {message}{more}", path.display(), kind.name())
}

fn source(error: &dyn std::error::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// The templates that an argument names: the file itself, or the templates in the folder and its folders, in the order
/// of their names.
fn templates(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries = std::fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && !SKIPPED.contains(&entry.file_name().to_string_lossy().as_ref()) {
            found.extend(templates(&path)?);
        } else if kind.is_file() && is_template(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Whether a file in a folder looks like a template: it has resources of AWS.
fn is_template(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    if !extension.is_some_and(|extension| ["json", "template", "yaml", "yml"].contains(&extension)) {
        return false;
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let resources = |line: &str| line.trim_start().trim_start_matches('"').starts_with("Resources");
    text.contains("AWS::") && text.lines().any(resources)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Resources:\n  Q: {Type: AWS::SQS::Queue}\n  M: {Type: AWS::StepFunctions::StateMachine}\n";
    const BAD: &str = "Parameters: {P: {Type: String}}\nResources:\n  Q:\n    Type: AWS::SQS::Queue\n    \
                       Properties: {Name: !Ref P, Names: a}\n";
    const UNSERVED: &str = "Resources:\n  \
                            T: {Type: AWS::SNS::Topic, Properties: {FifoTopic: true}}\n  \
                            Q: {Type: AWS::SQS::Queue, Properties: {QueueName: !Ref M}}\n  \
                            M: {Type: AWS::StepFunctions::StateMachine}\n";

    fn checked(paths: Vec<PathBuf>, arguments: &[&str]) -> (bool, String) {
        let mut out = Vec::new();
        let has = |argument| arguments.contains(&argument);
        let check = Check { paths, params: Vec::new(), allow_missing: has("--allow-missing"), table: has("--table") };
        let passed = write(&check, &mut out).expect("readable folders");
        (passed, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn every_finding_of_every_template_is_shown_and_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let inside = folder.path().join("a/node_modules");
        std::fs::create_dir_all(&inside).expect("folders");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        let (good, bad) = (file("a/good.yaml", GOOD), file("bad.yml", BAD));
        file("a/node_modules/other.yaml", BAD);
        file("a/package.json", "{}");
        file("notes.txt", BAD);
        let (passed, text) = checked(vec![folder.path().to_owned()], &[]);
        assert!(!passed);
        let (good_name, bad_name, all) = (good.display(), bad.display(), folder.path().display());
        let queue = "AWS::SQS::Queue does not have the property";
        let nearest = "(nearest: Tags, QueueName, FifoQueue)";
        let expected = format!(
            "{good_name}:1: note: Not run here: AWS::StepFunctions::StateMachine (M)\n\
             {bad_name}:1: needed: Parameter P has no default: give it a value, for example with --param P=VALUE\n\
             {bad_name}:5: error: {queue} \"Name\" {nearest}\n\
             {bad_name}:5: error: {queue} \"Names\" {nearest}\n\
             {all}  1 of 2 pass\n"
        );
        assert_eq!(text, expected);
        let (_, table) = checked(vec![folder.path().to_owned()], &["--table"]);
        let expected = format!(
            "pass  {good_name}\n\
             fail  {bad_name}:5: error: {queue} \"Name\" {nearest} (and 1 more)\n\
             {all}  1 of 2 pass\n"
        );
        assert_eq!(table, expected);
        assert!(checked(vec![good], &[]).0, "a template without errors");
    }

    #[test]
    fn what_is_not_served_or_not_there_fails_unless_it_may_be_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.yaml");
        std::fs::write(&path, UNSERVED).expect("a file");
        let (passed, text) = checked(vec![path.clone()], &[]);
        assert!(!passed, "{text}");
        assert!(text.contains(":3: error: \"M\" is AWS::StepFunctions::StateMachine, which is not run here"), "{text}");
        assert!(text.contains(":2: not served: T: FIFO topics are not served here\n"), "{text}");
        std::fs::write(&path, UNSERVED.replace("!Ref M", "queue")).expect("a file");
        let (passed, table) = checked(vec![path.clone()], &["--table"]);
        let name = path.display();
        let expected = format!(
            "part  {name}:2: not served: T: FIFO topics are not served here\n\
             {name}  0 of 1 pass, 1 more could run in part\n"
        );
        assert_eq!((passed, table), (false, expected));
        std::fs::write(&path, UNSERVED).expect("a file");
        let (passed, text) = checked(vec![path], &["--allow-missing"]);
        assert!(passed && text.contains(":2: note: T: FIFO topics are not served here\n"), "{text}");
        assert!(
            text.contains(":3: note: \"M\" is AWS::StepFunctions::StateMachine, which is not run here: its"),
            "{text}"
        );
    }

    #[test]
    fn apis_that_cannot_share_a_host_fail_although_parts_may_be_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.yaml");
        let api = |id| format!("  {id}: {{Type: AWS::Serverless::HttpApi}}\n");
        let source = format!("Transform: AWS::Serverless-2016-10-31\nResources:\n{}{}", api("A"), api("B"));
        std::fs::write(&path, source).expect("a file");
        let (passed, text) = checked(vec![path], &["--allow-missing"]);
        assert!(
            !passed && text.contains(":1: not served: The HTTP APIs A and B both have the stage $default"),
            "{text}"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_fails() {
        let (passed, text) = checked(vec!["/nowhere/t.yaml".into()], &[]);
        assert!(!passed && text.starts_with("/nowhere/t.yaml:1: error: Cannot read the template"), "{text}");
    }
}
