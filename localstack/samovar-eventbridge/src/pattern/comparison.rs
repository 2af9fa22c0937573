//! What a pattern says of one value.

use std::net::IpAddr;

use serde_json::{Number, Value};

/// EventBridge compares only numbers of this size.
pub(super) const MOST: f64 = 5.0e9;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Comparison {
    /// A text, a number, `true`, `false` or `null`.
    Exactly(Value),
    Text(Text),
    /// None of these holds.
    AnythingBut(Vec<Comparison>),
    /// All of these hold.
    Numeric(Vec<(Order, f64)>),
    Exists(bool),
    /// An address in this network, whose prefix has so many bits.
    Network(IpAddr, u8),
}

/// A comparison of texts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Text {
    Prefix(String),
    Suffix(String),
    /// In lower case, as the next two.
    EqualsIgnoreCase(String),
    PrefixIgnoreCase(String),
    SuffixIgnoreCase(String),
    /// The texts between the `*`s.
    Wildcard(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// Whether it holds for a value, which is neither an object nor a list.
    pub(super) fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Exactly(Value::Number(one)), Value::Number(other)) => equal(one, other),
            (Self::Exactly(expected), value) => expected == value,
            (Self::Text(text), Value::String(value)) => text.holds(value),
            (Self::AnythingBut(comparisons), value) => !comparisons.iter().any(|one| one.holds(value)),
            (Self::Numeric(limits), Value::Number(number)) => {
                let number = number.as_f64().filter(|number| number.abs() <= MOST);
                number.is_some_and(|number| limits.iter().all(|(order, limit)| order.holds(number, *limit)))
            }
            (Self::Exists(exists), _) => *exists,
            (Self::Network(network, bits), Value::String(address)) => {
                address.parse().is_ok_and(|address| is_within(address, *network, *bits))
            }
            (Self::Text(_) | Self::Numeric(_) | Self::Network(..), _) => false,
        }
    }
}

/// `300`, `300.0` and `3.0e2` are the same number.
fn equal(one: &Number, other: &Number) -> bool {
    match (one.as_i64(), other.as_i64()) {
        (Some(one), Some(other)) => one == other,
        _ => one.as_f64() == other.as_f64(),
    }
}

impl Text {
    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Prefix(prefix) => value.starts_with(prefix),
            Self::Suffix(suffix) => value.ends_with(suffix),
            Self::EqualsIgnoreCase(text) => value.to_lowercase() == *text,
            Self::PrefixIgnoreCase(prefix) => value.to_lowercase().starts_with(prefix),
            Self::SuffixIgnoreCase(suffix) => value.to_lowercase().ends_with(suffix),
            Self::Wildcard(parts) => wildcard(parts, value),
        }
    }
}

/// Whether the value has these parts in order, the first at its beginning and the last at its end.
fn wildcard(parts: &[String], value: &str) -> bool {
    let [first, middle @ .., last] = parts else {
        return parts.first().is_some_and(|whole| whole == value);
    };
    let Some(mut rest) = value.strip_prefix(first.as_str()) else { return false };
    // The earliest place of each part leaves the most for those that follow.
    for part in middle {
        let Some(at) = rest.find(part.as_str()) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last.as_str())
}

impl Order {
    fn holds(self, number: f64, limit: f64) -> bool {
        match self {
            Self::Equal => number == limit,
            Self::Less => number < limit,
            Self::LessOrEqual => number <= limit,
            Self::Greater => number > limit,
            Self::GreaterOrEqual => number >= limit,
        }
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (u128::from(address.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let rest = width - u32::from(bits);
    // A shift by the whole width is none in Rust.
    let prefix = |bits: u128| bits.checked_shr(rest).unwrap_or(0);
    prefix(address) == prefix(network)
}
