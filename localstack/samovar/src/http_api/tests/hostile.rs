//! Arbitrary addresses, tokens and functions' answers.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::http_api::{response, routes};
use crate::testing::hostile::{config, words};
use crate::uri::{decode, query};

/// The text with an escape for each byte that is not a letter or a digit.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02x}"),
    };
    text.bytes().map(byte).collect()
}

fn known_routes() -> Vec<HttpRoute> {
    let keys = ["GET /", "GET /pets/{id}", "ANY /pets/{proxy+}", "POST /pets/{id}/toys", "GET /a/b", "$default"];
    keys.map(|key| route(key, "f")).to_vec()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn escaped_text_is_decoded_to_the_same_text(
        text in any::<String>(),
        pairs in proptest::collection::vec(any::<(String, String)>(), 0..6),
    ) {
        prop_assert_eq!(decode(&escaped(&text)), text);
        let pair = |(name, value): &(String, String)| format!("{}={}", escaped(name), escaped(value));
        let written: Vec<_> = pairs.iter().map(pair).collect();
        prop_assert_eq!(query(Some(&written.join("&"))), pairs);
    }

    #[test]
    fn text_without_escapes_is_kept(text in words(&["%", "%%", "%+f", "%-1", "%0x", "% 1", "%g0", "%0", "+", "a"])) {
        let is_hex = |pair: &str| pair.bytes().all(|b| b.is_ascii_hexdigit());
        let is_escape = |at: usize| text.get(at + 1..at + 3).is_some_and(is_hex);
        prop_assume!(!text.match_indices('%').any(|(at, _)| is_escape(at)));
        prop_assert_eq!(decode(&text), text);
    }

    #[test]
    fn any_path_selects_a_route_and_its_variables_are_parts_of_the_path(
        path in words(&[
            "/", "//", "pets", "a", "b", "toys", "%2F", "%2f..", "..", "%", "%ff", "%00", "{id}", "?", "#",
        ]),
        method in proptest::sample::select(vec![Method::GET, Method::POST, Method::PATCH]),
    ) {
        let routes = known_routes();
        let selected = routes::select(&routes, &method, &path).expect("there is a default");
        let decoded = decode(&path);
        prop_assert!(selected.parameters.values().all(|value| decoded.contains(value.as_str())), "{:?}", selected);
        let without_default = &routes[..routes.len() - 1];
        let own = routes::select(without_default, &method, &path).is_some();
        prop_assert!(!own || routes::concern(without_default, &method, &path));
    }

    #[test]
    fn any_answer_of_a_function_is_a_response_or_malformed(
        text in words(&[
            "{", "}", "\"statusCode\":", "200", "-1", "99999", "\"headers\":{", "\"a\":\"b\\r\\nc: d\"", "\"body\":",
            "\"x\"", "\"isBase64Encoded\":true", "\"cookies\":[\"a=b\\r\\nc\"]", ",", "[", "]", "null", "[[[[[[[[[[",
        ]),
        name in words(&["a", "content-length", "transfer-encoding", ":", "\r\n", " ", "\u{e9}"]),
        value in words(&["b", "\r\n", "\0", "\u{e9}", " "]),
        status in any::<i32>(),
    ) {
        let _ = response::of_answer(text.as_bytes());
        let answer = json!({ "statusCode": status, "headers": { name: value }, "cookies": [value], "body": value });
        if let Ok(response) = response::of_answer(answer.to_string().as_bytes()) {
            prop_assert!(response.headers().values().all(|value| !value.as_bytes().contains(&b'\n')));
        }
    }
}

#[test]
fn only_the_token_that_the_issuer_signed_is_accepted() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let issuer = runtime.block_on(Issuer::start());
    let bench = runtime.block_on(Bench::guarded(&issuer, &[]));
    let good = issuer.token(json!({}));
    // Some texts are a good token with one character changed. Others are made of parts of tokens.
    let changed = (any::<prop::sample::Index>(), any::<char>()).prop_map({
        let good = good.clone();
        move |(at, by)| {
            let at = at.index(good.len());
            format!("{}{by}{}", &good[..at], &good[at + 1..])
        }
    });
    let text = words(&["Bearer ", "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ", ".", "e30", "=", "AAAA", "null", " "]);
    let tested = TestRunner::new(config()).run(&prop_oneof![changed, text], |token| {
        let Ok(value) = http::HeaderValue::from_str(&format!("Bearer {token}")) else { return Ok(()) };
        let request = bench.request(Method::GET, "/me").header("authorization", value);
        let answer = runtime.block_on(send(request));
        // The last character of a signature has unused bits. Base64 refuses it if they are set.
        prop_assert!(answer.status == 401 || token == good, "{}", token);
        Ok(())
    });
    tested.unwrap();
    assert_eq!(runtime.block_on(bench.get_with("/me", &good)).status, 200);
}

#[tokio::test]
async fn a_token_with_critical_extensions_is_refused_even_if_the_issuer_signed_it() {
    let issuer = Issuer::start().await;
    let bench = Bench::guarded(&issuer, &[]).await;
    for crit in [vec![], vec!["exp".to_owned()], vec!["b64".to_owned()]] {
        let token = issuer::KEY.sign_with(&issuer.claims(json!({})), |header| header.crit = Some(crit.clone()));
        bench.get_with("/me", &token).await.assert_refused(401, "Unauthorized");
    }
}
