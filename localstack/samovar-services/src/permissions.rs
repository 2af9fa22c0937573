//! The permissions of functions. A function may make the calls that its policies allow, and no others, as on AWS.
//!
//! A call needs one or more permissions, each an action on a resource ([`Need`]). A policy's statements decide about
//! each of them: one that denies it goes before all others, and without one that allows it, it is denied. Actions and
//! resources may have the wildcards `*` and `?`.
//!
//! The conditions of statements are not evaluated. A statement that allows something under a condition is taken as if
//! the condition held. One that denies something under a condition is left out. Both are told at the start.
//!
//! Only functions have policies here. Other callers, such as a person with a command line, may do everything.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::str::Chars;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// An action on a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Such as `dynamodb:GetItem`.
    pub action: Cow<'static, str>,
    /// The ARN of the resource.
    pub resource: String,
}

impl Need {
    pub(crate) fn new(action: impl Into<Cow<'static, str>>, resource: String) -> Self {
        Self { action: action.into(), resource }
    }
}

/// A call that is not allowed. The text is the one that AWS answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied(pub String);

/// A permission in a policy: function, action and resource as the policy has them.
pub type Grant = (String, String, String);

/// The policies of all functions.
#[derive(Debug)]
pub struct Permissions {
    functions: BTreeMap<String, Vec<Statement>>,
    account: Account,
    used: Mutex<Used>,
}

/// The permissions that have allowed a call so far.
#[derive(Debug, Default)]
struct Used {
    /// By function and action.
    grants: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// Each is written here when it is used for the first time.
    log: Option<File>,
}

/// The region and the account of all resources.
#[derive(Debug, Clone)]
pub struct Account {
    /// Such as `us-east-1`.
    pub region: String,
    /// Twelve digits.
    pub id: String,
}

impl Used {
    fn has(&self, function: &str, action: &str, resource: &str) -> bool {
        let resources = self.grants.get(function).and_then(|actions| actions.get(action));
        resources.is_some_and(|resources| resources.contains(resource))
    }
}

#[derive(Debug)]
struct Statement {
    allows: bool,
    conditional: bool,
    actions: Patterns,
    resources: Patterns,
}

/// Patterns of which one must match, or none.
#[derive(Debug)]
enum Patterns {
    Any(Vec<String>),
    NoneOf(Vec<String>),
}

impl Patterns {
    fn read(statement: &Value, name: &str, negated: &str) -> Self {
        let list = |value: &Value| match value {
            Value::Array(values) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            one => one.as_str().map(str::to_owned).into_iter().collect(),
        };
        match statement.get(negated) {
            Some(patterns) => Self::NoneOf(list(patterns)),
            None => Self::Any(list(&statement[name])),
        }
    }

    /// The pattern that covers `text`. With patterns of which none may match, this is `*`.
    fn covering(&self, text: &str, matches: impl Fn(&str, &str) -> bool) -> Option<&str> {
        match self {
            Self::Any(patterns) => patterns.iter().find(|pattern| matches(pattern, text)).map(String::as_str),
            Self::NoneOf(patterns) => (!patterns.iter().any(|pattern| matches(pattern, text))).then_some("*"),
        }
    }
}

impl Statement {
    fn read(statement: &Value) -> Self {
        Self {
            allows: statement["Effect"] == "Allow",
            conditional: statement.get("Condition").is_some_and(|condition| !condition.is_null()),
            actions: Patterns::read(statement, "Action", "NotAction"),
            resources: Patterns::read(statement, "Resource", "NotResource"),
        }
    }

    /// The action and the resource of this statement that cover what is needed.
    fn covering(&self, need: &Need) -> Option<(&str, &str)> {
        let action = self.actions.covering(&need.action, is_action)?;
        Some((action, self.resources.covering(&need.resource, is_resource)?))
    }
}

impl Permissions {
    /// The policies by function.
    pub fn of<'a>(functions: impl Iterator<Item = (&'a str, &'a [Value])>, account: Account) -> Self {
        let functions = functions.map(|(name, policies)| {
            let statements: Vec<_> = policies.iter().flat_map(statements).map(Statement::read).collect();
            if statements.iter().any(|statement| statement.conditional) {
                tracing::warn!("{name}: conditions in policies are not evaluated here");
            }
            (name.to_owned(), statements)
        });
        Self { functions: functions.collect(), account, used: Mutex::default() }
    }

    /// Writes each permission to this file when it is used for the first time.
    #[must_use]
    pub fn logging_to(self, file: File) -> Self {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).log = Some(file);
        self
    }

    /// The region and the account of the resources.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Whether `function` may do all of this. A caller that is no function may.
    ///
    /// # Errors
    /// AWS's words, for the first that it may not do. The log says which statement would be needed.
    pub fn check(&self, function: &str, needs: &[Need]) -> Result<(), Denied> {
        let Some(statements) = self.functions.get(function) else { return Ok(()) };
        needs.iter().try_for_each(|need| self.check_one(function, statements, need))
    }

    fn check_one(&self, function: &str, statements: &[Statement], need: &Need) -> Result<(), Denied> {
        let denied = statements
            .iter()
            .find(|statement| !statement.allows && !statement.conditional && statement.covering(need).is_some());
        let granted = statements.iter().filter(|statement| statement.allows).find_map(|one| one.covering(need));
        let why = match (denied, granted) {
            (None, Some((action, resource))) => {
                self.note(function, action, resource);
                return Ok(());
            }
            (Some(_), _) => "with an explicit deny in an identity-based policy".to_owned(),
            (None, None) => format!("because no identity-based policy allows the {} action", need.action),
        };
        let Need { action, resource } = need;
        if denied.is_none() {
            tracing::warn!(
                "{function} may not do this. A statement of its policies would be needed: \
                 {{ Effect: Allow, Action: {action}, Resource: {resource} }} (or start without the check, by --no-iam)"
            );
        } else {
            tracing::warn!("{function} may not do this: a statement of its policies denies {action} on {resource}");
        }
        let account = &self.account.id;
        let role = format!("arn:aws:sts::{account}:assumed-role/{function}/{function}");
        Err(Denied(format!("User: {role} is not authorized to perform: {action} on resource: {resource} {why}")))
    }

    fn note(&self, function: &str, action: &str, resource: &str) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        // Each call comes here, so what is known already costs three looks and no copy.
        if used.has(function, action, resource) {
            return;
        }
        let actions = used.grants.entry(function.to_owned()).or_default();
        actions.entry(action.to_owned()).or_default().insert(resource.to_owned());
        if let Some(log) = &mut used.log
            // One write, so that lines of several stacks do not mix.
            && let Err(error) = log.write_all(format!("{function} {action} {resource}\n").as_bytes())
        {
            tracing::warn!(%error, "The use of a permission could not be written down");
        }
    }

    /// The permissions that no call has needed so far.
    pub fn unused(&self) -> BTreeSet<Grant> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.grants().filter(|(function, action, resource)| !used.has(function, action, resource)).collect()
    }

    /// All permissions of all functions.
    pub fn grants(&self) -> impl Iterator<Item = Grant> + '_ {
        self.functions.iter().flat_map(|(function, statements)| {
            let allowing = statements.iter().filter(|statement| statement.allows);
            allowing.flat_map(move |statement| {
                let list = |patterns: &Patterns| match patterns {
                    Patterns::Any(patterns) => patterns.clone(),
                    Patterns::NoneOf(_) => vec!["*".to_owned()],
                };
                let resources = list(&statement.resources);
                list(&statement.actions).into_iter().flat_map(move |action| {
                    let of = move |resource| (function.clone(), action.clone(), resource);
                    resources.clone().into_iter().map(of).collect::<Vec<_>>()
                })
            })
        })
    }
}

fn statements(policy: &Value) -> &[Value] {
    match &policy["Statement"] {
        Value::Array(statements) => statements,
        one => std::slice::from_ref(one),
    }
}

/// Whether an action has the form of a pattern. The case does not matter.
pub fn is_action(pattern: &str, action: &str) -> bool {
    wildcard(pattern, action, |a, b| a.eq_ignore_ascii_case(&b))
}

/// Whether an ARN has the form of a pattern.
pub fn is_resource(pattern: &str, arn: &str) -> bool {
    wildcard(pattern, arn, |a, b| a == b)
}

/// IAM's wildcards: `*` stands for any characters and `?` for one.
fn wildcard(pattern: &str, text: &str, same: impl Fn(char, char) -> bool) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // The pattern after the last star, and the text after what that star stands for.
    let mut star: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        let (mut next, mut rest) = (pattern.clone(), text.clone());
        match (next.next(), rest.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((next.clone(), text.clone()));
                pattern = next;
            }
            (Some(one), Some(other)) if one == '?' || same(one, other) => (pattern, text) = (next, rest),
            _ => {
                // The star stands for one character more.
                let Some((after, from)) = &mut star else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, text) = (after.clone(), from.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn account() -> Account {
        Account { region: "us-east-1".to_owned(), id: "000000000000".to_owned() }
    }

    fn permissions(statements: Value) -> Permissions {
        let policies = [json!({ "Version": "2012-10-17", "Statement": statements })];
        Permissions::of([("worker", &policies[..])].into_iter(), account())
    }

    fn need(action: &'static str, resource: &str) -> Need {
        Need::new(action, resource.to_owned())
    }

    #[test]
    fn a_pattern_has_stars_and_question_marks() {
        for (pattern, text, matches) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "ab", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*/@connections/*", "ws/POST/@connections/x=", true),
            ("a*b*c", "a-b-b-c", true),
            ("a**", "a", true),
            ("A", "a", false),
            ("a?c", "aäc", true),
            ("*?", "", false),
        ] {
            assert_eq!(is_resource(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn what_no_statement_allows_is_denied_in_the_words_of_aws() {
        let permissions = permissions(json!([
            { "Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "arn:t" },
            { "Effect": "Allow", "Action": ["SQS:Send*"], "Resource": ["arn:q1", "arn:q2"] },
        ]));
        let may = |action, resource| permissions.check("worker", &[need(action, resource)]);
        assert_eq!(may("dynamodb:GetItem", "arn:t"), Ok(()));
        assert_eq!(may("sqs:SendMessage", "arn:q2"), Ok(()), "the case of an action does not matter");
        for (action, resource) in [("dynamodb:PutItem", "arn:t"), ("dynamodb:GetItem", "arn:T"), ("sqs:Get", "arn:q1")]
        {
            let Denied(text) = may(action, resource).expect_err("nothing allows it");
            let expected = format!(
                "User: arn:aws:sts::000000000000:assumed-role/worker/worker is not authorized to perform: {action} on \
                 resource: {resource} because no identity-based policy allows the {action} action"
            );
            assert_eq!(text, expected);
        }
        let both = [need("dynamodb:GetItem", "arn:t"), need("dynamodb:PutItem", "arn:t")];
        assert!(permissions.check("worker", &both).is_err(), "all of it is needed");
        assert_eq!(permissions.check("other", &both), Ok(()), "this is no function");
    }

    #[test]
    fn a_statement_that_denies_goes_before_those_that_allow() {
        let permissions = permissions(json!([
            { "Effect": "Allow", "Action": "*", "Resource": "*" },
            { "Effect": "Deny", "NotAction": "s3:Get*", "NotResource": "arn:mine/*" },
            { "Effect": "Deny", "Action": "s3:GetObject", "Resource": "*", "Condition": { "Bool": { "a": "b" } } },
        ]));
        let may = |action, resource| permissions.check("worker", &[need(action, resource)]).is_ok();
        assert!(may("s3:GetObject", "arn:other/a"), "a condition is not evaluated");
        assert!(may("s3:PutObject", "arn:mine/a"));
        assert!(!may("s3:PutObject", "arn:other/a"));
        let Denied(text) = permissions.check("worker", &[need("s3:PutObject", "arn:o")]).expect_err("denied");
        assert!(text.ends_with("with an explicit deny in an identity-based policy"), "{text}");
    }

    #[test]
    fn a_permission_that_no_call_needed_is_known_and_one_that_a_call_needed_is_written_down_once() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let permissions = permissions(json!({ "Effect": "Allow", "Action": ["a:b", "a:c"], "Resource": ["r*", "s"] }))
            .logging_to(file.reopen().expect("the file"));
        for _ in 0..2 {
            permissions.check("worker", &[need("a:b", "r1")]).expect("it is allowed");
        }
        let grant = |action: &str, resource: &str| ("worker".to_owned(), action.to_owned(), resource.to_owned());
        assert_eq!(permissions.unused(), [grant("a:b", "s"), grant("a:c", "r*"), grant("a:c", "s")].into());
        assert_eq!(permissions.grants().count(), 4);
        assert_eq!(std::fs::read_to_string(file.path()).expect("the file"), "worker a:b r*\n");
    }
}
