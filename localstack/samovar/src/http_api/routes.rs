//! The route of a request: the most specific one whose path and method match, else `$default`.
//!
//! AWS: "full match for a route and method", then "a route and method with a greedy path variable", then `$default`. In
//! between, a literal segment goes before a variable, at the first segment where two routes differ, and a route's path before
//! its method: of `ANY /pets` and `GET /{proxy+}` the first has `GET /pets`.
//!
//! Unconfirmed: that a variable does not match an empty segment, and so neither `/{proxy+}` the path `/` nor `/pets` the
//! path `/pets/`; that `%2F` does not part segments.

use std::collections::BTreeMap;

use http::Method;

use super::Api;
use crate::uri::decode;
use samovar_template::{HttpRoute, RouteKey, Segment};

/// A route, and what its variables stand for: decoded, as API Gateway hands them on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selected<'a> {
    pub route: &'a HttpRoute,
    pub parameters: BTreeMap<String, String>,
}

impl Api {
    pub(crate) fn is_default(&self) -> bool {
        self.spec.stage == "$default"
    }

    /// The path that routes see: without the stage.
    pub(crate) fn route_path<'a>(&self, path: &'a str) -> &'a str {
        if self.is_default() {
            return path;
        }
        let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(self.spec.stage.as_str()));
        rest.filter(|rest| !rest.is_empty()).unwrap_or("/")
    }
}

/// `path` is as the client sent it.
pub(crate) fn select<'a>(routes: &'a [HttpRoute], method: &Method, path: &str) -> Option<Selected<'a>> {
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let matching = routes.iter().filter_map(|route| {
        let (rank, parameters) = matches(&route.key, method, &segments)?;
        Some((rank, Selected { route, parameters }))
    });
    matching.min_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, selected)| selected)
}

/// Whether a route matches, or has at least the path's first segment.
pub(crate) fn concern(routes: &[HttpRoute], method: &Method, path: &str) -> bool {
    let first = path.strip_prefix('/').unwrap_or(path).split('/').next().map(decode).filter(|first| !first.is_empty());
    let begins_so = |route: &HttpRoute| match &route.key {
        RouteKey::Path { segments, .. } => {
            matches!((segments.first(), &first), (Some(Segment::Literal(own)), Some(first)) if own == first)
        }
        RouteKey::Default => false,
    };
    select(routes, method, path).is_some() || routes.iter().any(begins_so)
}

/// The lower, the more specific: segment by segment, then the method.
type Rank = (Vec<u8>, bool);

fn matches(key: &RouteKey, method: &Method, path: &[&str]) -> Option<(Rank, BTreeMap<String, String>)> {
    let RouteKey::Path { method: wanted, segments } = key else {
        return Some(((vec![u8::MAX], true), BTreeMap::new()));
    };
    if wanted.as_ref().is_some_and(|wanted| wanted != method.as_str()) {
        return None;
    }
    let (mut rank, mut parameters) = (Vec::new(), BTreeMap::new());
    for (at, segment) in segments.iter().enumerate() {
        match segment {
            Segment::Literal(text) => {
                if decode(path.get(at)?) != *text {
                    return None;
                }
                rank.push(0);
            }
            Segment::Variable(name) => {
                let value = path.get(at).filter(|value| !value.is_empty())?;
                parameters.insert(name.clone(), decode(value));
                rank.push(1);
            }
            Segment::Greedy(name) => {
                path.get(at).filter(|first| !first.is_empty())?;
                parameters.insert(name.clone(), decode(&path[at..].join("/")));
                rank.push(2);
                return Some(((rank, wanted.is_none()), parameters));
            }
        }
    }
    (segments.len() == path.len()).then_some(((rank, wanted.is_none()), parameters))
}
