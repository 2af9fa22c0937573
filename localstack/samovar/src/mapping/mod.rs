//! Mapping templates of API Gateway: Velocity, with the variables `$input`, `$context`, `$stageVariables` and `$util`
//! ([mapping template reference]).
//!
//! [`parser`] turns a template into [`syntax`], and [`evaluate`] writes the text: [`operators`] for expressions,
//! [`methods`] of strings, lists and maps, [`functions`] of `$input` and `$util`. There are no macros. What Velocity
//! would leave out silently, such as an unknown method, is an error here: a template that works here must also work
//! there.
//!
//! Invariant: a template and a body from anywhere end in bounded time and space. Nesting is bounded when a template is
//! parsed and when a value is made. Each step and each byte that a step makes is paid from one budget, and no text
//! grows beyond a limit.
//!
//! [mapping template reference]:
//!     https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html

mod evaluate;
mod functions;
mod methods;
mod operators;
mod parser;
mod syntax;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// The levels of blocks, parentheses, calls and strings within each other, and of lists and maps.
const MAX_DEPTH: usize = 40;
/// API Gateway's own limit on the rounds of a `#foreach`.
const MAX_ROUNDS: usize = 1_000;
/// The bytes of any text.
const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// Steps, and bytes that they make.
const MAX_WORK: usize = 32 * 1024 * 1024;

/// The things that a template can refer to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    /// `$input.body`. It need not be JSON.
    pub body: String,
    /// `$input.params()`.
    pub params: Params,
    /// `$context`, an object.
    pub context: Value,
    /// `$stageVariables`.
    pub stage_variables: BTreeMap<String, String>,
}

/// The parameters of a request: of a WebSocket API, only a handshake has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params {
    /// By name.
    pub path: BTreeMap<String, String>,
    /// By name.
    pub querystring: BTreeMap<String, String>,
    /// By name, in the client's case.
    pub header: BTreeMap<String, String>,
}

/// What is wrong with a template, or with its use of what it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The line of the template, from 1. 0 if the problem shows only while it is evaluated.
    line: usize,
    message: String,
}

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Self { line: 0, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}: {}", self.message),
        }
    }
}

/// Writes what the template says.
pub(crate) fn render(template: &str, scope: &Scope) -> Result<String, Problem> {
    evaluate::evaluate(&parser::parse(template)?, scope)
}
