//! As a browser asks, and what it needs to be told.

use http::Method;

use super::*;

async fn preflight(served: &Served, bucket: &str, asks: &[(&str, &str)]) -> reqwest::Response {
    let request = reqwest::Client::new().request(Method::OPTIONS, format!("{}/{bucket}/a", served.url));
    asks.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.expect("an answer")
}

fn shown(response: &reqwest::Response, name: &str) -> Option<String> {
    response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

#[tokio::test]
async fn a_preflight_that_a_rule_allows_is_told_so() {
    let served = Served::new().await;
    let asks = [
        ("origin", "http://localhost:5173"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "Content-Type, X-Amz-Date"),
    ];
    let response = preflight(&served, BUCKET, &asks).await;
    assert_eq!(response.status(), 200);
    for (name, value) in [
        ("access-control-allow-origin", "http://localhost:5173"),
        ("access-control-allow-methods", "GET, POST, PUT"),
        ("access-control-allow-headers", "content-type, x-amz-date"),
        ("access-control-expose-headers", "ETag, x-amz-request-id"),
        ("access-control-max-age", "600"),
        ("access-control-allow-credentials", "true"),
        ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
    ] {
        assert_eq!(shown(&response, name).as_deref(), Some(value), "{name}");
    }
    // Another origin is allowed by the second rule, for reading.
    let asks = [("origin", "https://other.example"), ("access-control-request-method", "GET")];
    let response = preflight(&served, BUCKET, &asks).await;
    assert_eq!((response.status().as_u16(), shown(&response, "access-control-allow-origin")), (200, Some("*".into())));
    assert_eq!(shown(&response, "access-control-allow-credentials"), None);
    assert!(served.calls().is_empty(), "a preflight is no call");
}

#[tokio::test]
async fn a_preflight_that_no_rule_allows_is_refused() {
    let served = Served::new().await;
    let origin = ("origin", "https://app.example");
    let refused = "CORSResponse: This CORS request is not allowed.";
    for (bucket, asks, status, code, message) in [
        (BUCKET, vec![origin, ("access-control-request-method", "DELETE")], 403, "AccessForbidden", refused),
        (
            BUCKET,
            vec![("origin", "https://other.example"), ("access-control-request-method", "PUT")],
            403,
            "AccessForbidden",
            refused,
        ),
        (
            BUCKET,
            vec![origin, ("access-control-request-method", "PUT"), ("access-control-request-headers", "x-other")],
            403,
            "AccessForbidden",
            refused,
        ),
        (
            OTHER,
            vec![origin, ("access-control-request-method", "GET")],
            403,
            "AccessForbidden",
            "CORSResponse: CORS is not enabled for this bucket.",
        ),
        (BUCKET, vec![("access-control-request-method", "GET")], 400, "BadRequest", "Insufficient information."),
        (BUCKET, vec![origin], 400, "BadRequest", "Invalid Access-Control-Request-Method: null"),
        (
            BUCKET,
            vec![origin, ("access-control-request-method", "PATCH")],
            400,
            "BadRequest",
            "Invalid Access-Control-Request-Method: PATCH",
        ),
    ] {
        let response = preflight(&served, bucket, &asks).await;
        assert_eq!(shown(&response, "access-control-allow-origin"), None, "{asks:?}");
        let text = {
            assert_eq!(response.status().as_u16(), status, "{asks:?}");
            response.text().await.expect("a body")
        };
        assert_eq!(between(&text, "<Code>", "</Code>"), code, "{asks:?}");
        assert!(between(&text, "<Message>", "</Message>").starts_with(message), "{text}");
    }
}

#[tokio::test]
async fn an_actual_response_has_the_headers_of_its_rule_also_when_it_is_an_error() {
    let served = Served::new().await;
    served.put("a", b"meow", "image/png").await;
    let http = reqwest::Client::new();
    for key in ["a", "none"] {
        let get = served.client().get_object().bucket(BUCKET).key(key);
        let url = get.presigned(presigned::for_seconds(60)).await.expect("a URL").uri().to_owned();
        let response = http.get(&url).header("origin", "https://app.example").send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), if key == "a" { 200 } else { 404 });
        assert_eq!(shown(&response, "access-control-allow-origin").as_deref(), Some("https://app.example"));
        assert_eq!(shown(&response, "access-control-expose-headers").as_deref(), Some("ETag, x-amz-request-id"));
        let response = http.get(&url).send().await.expect("an answer");
        assert_eq!(shown(&response, "access-control-allow-origin"), None, "nobody asked");
    }
    let delete = http.delete(format!("{}/{BUCKET}/a", served.url)).header("origin", "https://app.example");
    let response = delete.send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), shown(&response, "access-control-allow-origin")), (403, None));
}
