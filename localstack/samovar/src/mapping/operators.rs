//! Operators between values. An operation that has no meaning for its values gives null.

use std::cmp::Ordering;

use serde_json::Value;

use super::methods::text;
use super::syntax::Operator;

/// Whether a condition holds: everything is true but `false` and what has no value.
pub(super) fn holds(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

pub(super) fn operate(operator: Operator, left: &Value, right: &Value) -> Value {
    let ordered = |expected: fn(Ordering) -> bool| compare(left, right).is_some_and(expected).into();
    match operator {
        Operator::Or => (holds(left) || holds(right)).into(),
        Operator::And => (holds(left) && holds(right)).into(),
        Operator::Equal => equal(left, right).into(),
        Operator::Unequal => (!equal(left, right)).into(),
        Operator::Less => ordered(Ordering::is_lt),
        Operator::LessOrEqual => ordered(Ordering::is_le),
        Operator::Greater => ordered(Ordering::is_gt),
        Operator::GreaterOrEqual => ordered(Ordering::is_ge),
        Operator::Add if left.is_string() || right.is_string() => match left.is_null() || right.is_null() {
            true => Value::Null,
            false => (text(left) + &text(right)).into(),
        },
        Operator::Add => arithmetic(left, right, i64::checked_add, |a, b| a + b),
        Operator::Subtract => arithmetic(left, right, i64::checked_sub, |a, b| a - b),
        Operator::Multiply => arithmetic(left, right, i64::checked_mul, |a, b| a * b),
        Operator::Divide => arithmetic(left, right, i64::checked_div, |a, b| a / b),
        Operator::Remainder => arithmetic(left, right, i64::checked_rem, |a, b| a % b),
    }
}

/// Whole numbers stay whole. A result that is no number is null.
fn arithmetic(left: &Value, right: &Value, whole: fn(i64, i64) -> Option<i64>, fraction: fn(f64, f64) -> f64) -> Value {
    if let Some((left, right)) = left.as_i64().zip(right.as_i64()) {
        return whole(left, right).map_or(Value::Null, Value::from);
    }
    match left.as_f64().zip(right.as_f64()) {
        Some((left, right)) => Value::from(fraction(left, right)),
        None => Value::Null,
    }
}

/// Numbers by their value, other values of different kinds by their texts.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(_), Value::Number(_)) => left.as_f64() == right.as_f64(),
        (Value::Null, _) | (_, Value::Null) => left == right,
        (Value::String(one), other) | (other, Value::String(one)) => match other {
            Value::String(other) => one == other,
            other => *one == text(other),
        },
        _ => left == right,
    }
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}
