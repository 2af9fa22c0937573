//! Arbitrary requests. Each is read, or refused with the right status.

use std::collections::HashMap;

use axum::extract::{FromRequest as _, FromRequestParts as _};
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse as _;
use lambda_http::RequestExt as _;
use proptest::prelude::*;

use crate::admin::groups_of;
use crate::conversations::limit;
use crate::input::{Body, Query};

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// These words and arbitrary text between them, in any order.
fn words(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => proptest::sample::select(words).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    proptest::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

fn read(kind: &str, body: String) -> Result<Body, StatusCode> {
    let mut request = Request::new(axum::body::Body::from(body));
    if let Ok(kind) = kind.parse() {
        request.headers_mut().insert("content-type", kind);
    }
    block_on(Body::from_request(request, &())).map_err(|problem| problem.into_response().status())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_body_is_read_or_refused_with_its_status(
        kind in words(&["application/json", "; charset=utf-8", ";", "text/plain", " ", "\0", "\u{e9}"]),
        body in words(&[
            "{", "}", "[", "[[[[[[[[", "\"title\":", "\"x\"", "7", "1e999", ",", "\"bytes\":", "-1",
            "18446744073709551616", "\\ud800", "null", "\u{feff}",
        ]),
    ) {
        for kind in [kind.as_str(), "application/json"] {
            match read(kind, body.clone()) {
                Ok(Body(mut fields)) => {
                    let (title, bytes) = (fields.text("title"), fields.integer("bytes"));
                    let value: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
                    prop_assert_eq!(title.as_deref(), value["title"].as_str());
                    prop_assert_eq!(bytes, value["bytes"].as_u64());
                    let refused = fields.finish().err().map(|problem| problem.into_response().status());
                    prop_assert!(refused.is_none_or(|status| status == 422), "{:?}", refused);
                }
                Err(status) => prop_assert!([400, 415].contains(&status.as_u16()), "{}", status),
            }
        }
    }

    #[test]
    fn a_body_beyond_64_kb_is_too_large_whatever_it_is(more in 1_usize..1000, byte in proptest::char::range(' ', '~')) {
        let body = byte.to_string().repeat(64 * 1024 + more);
        prop_assert_eq!(read("application/json", body).err(), Some(StatusCode::PAYLOAD_TOO_LARGE));
    }

    #[test]
    fn a_limit_is_1_to_100_or_wrong(text in words(&["1", "0", "9", "-", "+", ".", "e", " ", ",", "\0", "٣"])) {
        let parameters = HashMap::from([("limit".to_owned(), vec![text.clone()])]);
        let (mut parts, ()) = Request::new(()).with_query_string_parameters(parameters).into_parts();
        let Query(mut query) = block_on(Query::from_request_parts(&mut parts, &())).expect("a query");
        limit(&mut query);
        let number = text.parse::<u32>().ok().filter(|number| (1..=100).contains(number));
        prop_assert_eq!(query.finish().is_ok(), number.is_some(), "{:?}", text);
    }

    #[test]
    fn a_user_is_in_no_group_that_the_claim_does_not_name(
        claim in words(&["[", "]", "admin", "Admin", " ", ",", "\"", "other", "administrators", "\0", "\t"]),
    ) {
        // JSON may write a group's name with escapes, which this test does not compare.
        let claim = claim.replace('\\', "/");
        let groups = groups_of(&claim);
        prop_assert!(groups.iter().all(|group| claim.contains(group.as_str())), "{:?}", groups);
    }
}
