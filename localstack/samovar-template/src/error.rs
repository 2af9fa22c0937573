//! What is wrong with a template: every problem with its line, in line order.
//!
//! Reading never stops at the first problem of a stage: readers note it here and go on with whatever value is at hand,
//! which is safe because a template with any problem is never handed out.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Why a template cannot be used.
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
    /// What is wrong, and where known, what to write instead.
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

/// Collects problems. A set, because one mistake can be met on several ways: a name that a queue and its readers resolve.
#[derive(Debug, Default)]
pub(crate) struct Problems(RefCell<BTreeSet<Problem>>);

impl Problems {
    pub(crate) fn add(&self, line: usize, message: impl Into<String>) {
        self.push(Problem::new(line, message));
    }

    pub(crate) fn push(&self, problem: Problem) {
        self.0.borrow_mut().insert(problem);
    }

    /// The value, or nothing and one more problem.
    pub(crate) fn keep<T>(&self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.push(problem)).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(crate) fn into_list(self) -> Vec<Problem> {
        self.0.into_inner().into_iter().collect()
    }
}

/// `: did you mean "X"? (known: X, Y)`, or only what is known.
pub(crate) fn hint<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: BTreeSet<&str> = known.into_iter().collect();
    let all = known.iter().copied().collect::<Vec<_>>().join(", ");
    let closest = known
        .iter()
        .map(|name| (distance(&wrong.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1))
        .min();
    match closest {
        Some((_, name)) => format!(": did you mean \"{name}\"? (known: {all})"),
        None if known.is_empty() => " (there are none)".to_owned(),
        None => format!(" (known: {all})"),
    }
}

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
