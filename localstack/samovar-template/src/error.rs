//! The problems of a template: each with its line, in the order of the lines.
//!
//! Reading does not stop at the first problem of a stage. A reader notes the problem here and goes on with a default.
//! That is safe because a caller that wants to run a template never gets one with a problem.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::model::Template;

/// The reason why a template cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum TemplateError {
    #[error("Cannot read the template {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// One line per problem: `infra/template.yaml:42: …`.
    #[error("{}", listing(path, problems))]
    Invalid { path: PathBuf, problems: Vec<Problem> },
}

/// One thing to change in the template, or in the parameters given with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// The mistake and, where it is known, the correction.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

fn listing(path: &Path, problems: &[Problem]) -> String {
    let mut text = String::new();
    for (index, Problem { line, message }) in problems.iter().enumerate() {
        let newline = if index == 0 { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{newline}{}:{line}: {message}", path.display());
    }
    text
}

/// Collects what is found. Each kind is a set, because one mistake can be found twice: a queue and its event sources
/// both resolve the queue's name.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    errors: RefCell<BTreeSet<Problem>>,
    needed: RefCell<BTreeSet<Problem>>,
    notes: RefCell<BTreeSet<Problem>>,
}

impl Problems {
    pub(crate) fn add(&self, line: usize, message: impl Into<String>) {
        self.push(Problem::new(line, message));
    }

    pub(crate) fn push(&self, problem: Problem) {
        self.errors.borrow_mut().insert(problem);
    }

    /// Notes a value that the template leaves to the run.
    pub(crate) fn need(&self, line: usize, message: impl Into<String>) {
        self.needed.borrow_mut().insert(Problem::new(line, message));
    }

    /// Notes a part of the template that has no effect here.
    pub(crate) fn note(&self, line: usize, message: impl Into<String>) {
        self.notes.borrow_mut().insert(Problem::new(line, message));
    }

    /// Returns the value; or notes the problem and returns nothing.
    pub(crate) fn keep<T>(&self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.push(problem)).ok()
    }

    /// The errors so far.
    pub(crate) fn errors(&self) -> Vec<Problem> {
        self.errors.borrow().iter().cloned().collect()
    }

    /// Whether nothing is wrong and nothing needed so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.errors.borrow().is_empty() && self.needed.borrow().is_empty()
    }

    pub(crate) fn into_findings(self, template: Option<Template>) -> Findings {
        let list = |problems: RefCell<BTreeSet<Problem>>| problems.into_inner().into_iter().collect();
        let (errors, needed, notes) = (list(self.errors), list(self.needed), list(self.notes));
        Findings { errors, needed, notes, template }
    }
}

/// Everything that reading a template has found, each list in the order of the lines.
#[derive(Debug)]
pub struct Findings {
    /// Mistakes, and parts that are needed here and not understood.
    pub errors: Vec<Problem>,
    /// Values that the template leaves to the run: parameters without a default.
    pub needed: Vec<Problem>,
    /// Parts of the template that have no effect here.
    pub notes: Vec<Problem>,
    /// The model, if there is a template at all. It can be used only if nothing is wrong and nothing needed.
    pub template: Option<Template>,
}

/// `: did you mean "X"?` for names close to the wrong one, at most three. Otherwise the known names; of a long list
/// only the three nearest.
pub(crate) fn hint<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: BTreeSet<&str> = known.into_iter().collect();
    let wrong = wrong.to_lowercase();
    let mut nearest: Vec<(usize, &str)> =
        known.iter().map(|name| (distance(&wrong, &name.to_lowercase()), *name)).collect();
    nearest.sort_unstable();
    nearest.truncate(SUGGESTIONS);
    let close = |(distance, name): &&(usize, &str)| *distance <= (name.chars().count() / 3).max(1);
    let close: Vec<String> = nearest.iter().filter(close).map(|(_, name)| format!("\"{name}\"")).collect();
    match close.as_slice() {
        [] if known.is_empty() => " (there are none)".to_owned(),
        [] if known.len() <= SHORT_LIST => format!(" (known: {})", known.into_iter().collect::<Vec<_>>().join(", ")),
        [] => {
            let names: Vec<&str> = nearest.into_iter().map(|(_, name)| name).collect();
            format!(" (nearest: {})", names.join(", "))
        }
        [only] => format!(": did you mean {only}?"),
        [first @ .., last] => format!(": did you mean {} or {last}?", first.join(", ")),
    }
}

/// Whether the last parts of two names with parts like `AWS::SQS::Queue` are nearly the same, and the parts before them
/// are the same.
pub(crate) fn near(known: &str, wrong: &str) -> bool {
    let (Some((service, name)), Some((other, wrong))) = (known.rsplit_once("::"), wrong.rsplit_once("::")) else {
        return false;
    };
    service == other && name.len() > 4 && (1..=2).contains(&distance(name, wrong))
}

/// How many names a hint suggests.
const SUGGESTIONS: usize = 3;
/// A list of known names up to this length is shown as a whole.
const SHORT_LIST: usize = 5;

/// Levenshtein distance, one row at a time.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn a_hint_names_at_most_the_three_nearest_names() {
        let many = ["Rule1", "Rule2", "Rule3", "Rule4", "Handler", "Runtime"];
        assert_eq!(hint("Rule5", many), ": did you mean \"Rule1\", \"Rule2\" or \"Rule3\"?");
        assert_eq!(hint("Xyz", ["Handler", "Runtime"]), " (known: Handler, Runtime)");
        assert_eq!(hint("Xyz", many).matches(", ").count(), 2);
        assert_eq!(hint("Xyz", []), " (there are none)");
    }
}
