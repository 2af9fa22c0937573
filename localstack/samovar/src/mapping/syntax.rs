//! A template after it has been parsed.

use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Reference(Reference),
    /// `\$name`: the name itself, if it has a value.
    Escaped(Reference),
    Set {
        root: String,
        steps: Vec<Step>,
        value: Expression,
    },
    If {
        branches: Vec<(Expression, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
    Foreach {
        name: String,
        list: Expression,
        body: Vec<Node>,
    },
    Break,
    Stop,
}

/// `$root.step[step].step(…)`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reference {
    /// As it stands in the template.
    pub written: String,
    /// `$!`: nothing is written if it has no value.
    pub quiet: bool,
    pub root: String,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Property(String),
    Index(Expression),
    Method(String, Vec<Expression>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Value(Value),
    /// A string in double quotes, with references in it.
    Text(Vec<Node>),
    Reference(Reference),
    List(Vec<Expression>),
    Map(Vec<(Expression, Expression)>),
    Range(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    /// Operations of one precedence, from left to right. They are a list, so that many of them do not nest.
    Chain(Box<Expression>, Vec<(Operator, Expression)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}
