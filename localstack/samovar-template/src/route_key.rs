//! The key of an HTTP API's route: `GET /pets/{id}`, `ANY /files/{path+}`, `$default`.
//!
//! Invariant: a [`RouteKey`] can be matched without another look at the template: a greedy variable is the last
//! segment, no variable comes twice, and no segment is empty except in `/`.

use std::collections::BTreeSet;
use std::fmt;

/// The methods that an API Gateway route can have.
pub(crate) const METHODS: [&str; 8] = ["ANY", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// The requests that a route is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteKey {
    /// `$default`: requests that match no other route.
    Default,
    /// Requests whose path matches, with this method or with any.
    Path {
        /// `None` for `ANY`.
        method: Option<String>,
        /// The path, without its slashes.
        segments: Vec<Segment>,
    },
}

/// The text between two slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Matches this text.
    Literal(String),
    /// `{name}`: matches any one segment.
    Variable(String),
    /// `{name+}`: matches all remaining segments.
    Greedy(String),
}

impl RouteKey {
    /// Parses the route of a method (or `ANY`) and a path such as `/orders/{id}`. The error says what is wrong with the
    /// path.
    pub fn parse(method: &str, path: &str) -> Result<Self, String> {
        let Some(rest) = path.strip_prefix('/') else {
            return Err("must begin with a slash".to_owned());
        };
        if rest.ends_with('/') {
            return Err("must not end with a slash: API Gateway removes it".to_owned());
        }
        let segments = if rest.is_empty() {
            vec![Segment::Literal(String::new())]
        } else {
            rest.split('/').map(Segment::parse).collect::<Result<Vec<_>, _>>()?
        };
        let mut names = BTreeSet::new();
        for (at, segment) in segments.iter().enumerate() {
            if matches!(segment, Segment::Greedy(_)) && at + 1 < segments.len() {
                return Err(format!("must end with its greedy variable {segment}"));
            }
            if let Segment::Variable(name) | Segment::Greedy(name) = segment
                && !names.insert(name)
            {
                return Err(format!("must not have the variable {name} twice"));
            }
        }
        let method = method.to_ascii_uppercase();
        Ok(Self::Path { method: (method != "ANY").then_some(method), segments })
    }

    /// Whether both match the same requests: they differ at most in the names of variables.
    pub fn equals_but_for_names(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Default, Self::Default) => true,
            (Self::Path { method, segments }, Self::Path { method: other, segments: others }) => {
                method == other
                    && segments.len() == others.len()
                    && segments.iter().zip(others).all(|(one, other)| one.equals_but_for_name(other))
            }
            _ => false,
        }
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, String> {
        let Some(variable) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            return match text {
                "" => Err("must not have an empty segment".to_owned()),
                text if text.contains(['{', '}', '?', '#']) => {
                    Err(format!("must not contain \"{text}\": use {{name}} or {{name+}} as a whole segment"))
                }
                text => Ok(Self::Literal(text.to_owned())),
            };
        };
        let (name, greedy) = variable.strip_suffix('+').map_or((variable, false), |name| (name, true));
        let valid = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
        if name.is_empty() || !name.chars().all(valid) {
            return Err(format!("must name \"{text}\" with letters, digits, dots, colons, _ and -"));
        }
        Ok(if greedy { Self::Greedy(name.to_owned()) } else { Self::Variable(name.to_owned()) })
    }

    fn equals_but_for_name(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(one), Self::Literal(other)) => one == other,
            (Self::Variable(_), Self::Variable(_)) | (Self::Greedy(_), Self::Greedy(_)) => true,
            _ => false,
        }
    }
}

/// The form of `routeKey` in events.
impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Path { method, segments } = self else { return f.write_str("$default") };
        write!(f, "{} ", method.as_deref().unwrap_or("ANY"))?;
        segments.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Variable(name) => write!(f, "{{{name}}}"),
            Self::Greedy(name) => write!(f, "{{{name}+}}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_as_events_show_it() {
        for (method, path, key) in [
            ("GET", "/", "GET /"),
            ("get", "/pets/{id}", "GET /pets/{id}"),
            ("any", "/files/{path+}", "ANY /files/{path+}"),
        ] {
            assert_eq!(RouteKey::parse(method, path).map(|key| key.to_string()), Ok(key.to_owned()));
        }
        assert_eq!(RouteKey::Default.to_string(), "$default");
    }

    #[test]
    fn paths_that_cannot_be_matched_are_refused() {
        for path in ["", "pets", "/pets/", "/a//b", "/{a+}/b", "/{a}/{a}", "/{}", "/{a b}", "/x{a}", "/a?b"] {
            assert!(RouteKey::parse("GET", path).is_err(), "{path}");
        }
    }

    #[test]
    fn the_names_of_variables_make_no_difference() {
        let key = |method: &str, path: &str| RouteKey::parse(method, path).expect("a key");
        assert!(key("GET", "/a/{x}").equals_but_for_names(&key("GET", "/a/{y}")));
        for (method, path) in
            [("POST", "/a/{x}"), ("ANY", "/a/{x}"), ("GET", "/a/{x+}"), ("GET", "/a/x"), ("GET", "/a")]
        {
            assert!(!key("GET", "/a/{x}").equals_but_for_names(&key(method, path)), "{method} {path}");
        }
    }
}
