//! AWS's own host names, for functions whose code or SDK does not read the addresses in their environment: an API's
//! (`{id}.execute-api.{region}.amazonaws.com`, built in code), and those that SDKs have by themselves, such as version
//! 2 of the SDK for JavaScript.
//!
//! In a process of Python or Node.js, connections to these names go to the stack ([`VARIABLE`]), which has a
//! certificate for them. So none of these calls leaves for the real AWS. The stack takes such a request to the place
//! where the same service is under an address of its own.
//!
//! Names of this machine are [guarded](crate::hosts), and AWS's names over `https` need no guard: no page has one of
//! them as its origin, because nobody else has a certificate for it. Over plain HTTP they are refused: whoever controls
//! the DNS of a browser can make one of them resolve to this machine, and then its page would reach the services.
//!
//! Programs of other languages are started as they are. Some of them use a [proxy](crate::proxy).

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse as _;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{StatusCode, Uri};
use tower_service::Service as _;

use crate::other_services;
use crate::server::Scheme;

/// Whether this is one of AWS's own names.
pub(crate) fn is_of_aws(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".amazonaws.com")
}

/// The variable that tells a runtime the stack's address, as `HOST:PORT`.
pub(crate) const VARIABLE: &str = "SAMOVAR_AWS_NAMES";

/// Takes requests for AWS's names to `services`, and all others to `guarded`, which may be the same behind a guard.
pub(crate) fn before(services: Router, guarded: Router) -> Router {
    Router::new().fallback(async move |request: Request| {
        let (mut services, mut guarded) = (services, guarded);
        let answered = match place(&request) {
            None => guarded.call(request).await,
            Some(_) if request.extensions().get() != Some(&Scheme::Https) => return by_https().into_response(),
            Some(place) => services.call(moved(request, place)).await,
        };
        answered.unwrap_or_else(|never| match never {})
    })
}

/// The path in front of what a request to one of AWS's names is for. `None` if it is for another name.
fn place(request: &Request) -> Option<&'static str> {
    let host = request.headers().get(HOST)?.to_str().ok()?.to_ascii_lowercase();
    let mut labels = host.split(':').next()?.strip_suffix(".amazonaws.com")?.rsplit('.');
    // The last label is the region, or the service itself where it has no region or has it in its own label.
    let last = labels.next()?;
    let service = if last == "s3" || last.starts_with("s3-") { "s3" } else { labels.next().unwrap_or(last) };
    Some(match service {
        "execute-api" | "s3" => "",
        "dynamodb" | "events" | "sqs" => samovar_services::PATH,
        _ => other_services::PATH,
    })
}

fn by_https() -> (StatusCode, &'static str) {
    (StatusCode::MISDIRECTED_REQUEST, "The local stack answers to names of AWS only with TLS: use https")
}

fn moved(mut request: Request<Body>, place: &str) -> Request<Body> {
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    if let Ok(uri) = Uri::try_from(format!("{place}{path}")) {
        *request.uri_mut() = uri;
    }
    request
}

#[cfg(test)]
mod tests {
    use axum::routing::any;

    use super::*;

    /// The path with which a request to this name arrives, and whether it has passed the guard.
    async fn arrives(host: &str, path: &str) -> String {
        let (status, body) = answer(Some(Scheme::Https), host, path).await;
        assert_eq!(status, StatusCode::OK);
        body
    }

    async fn answer(scheme: Option<Scheme>, host: &str, path: &str) -> (StatusCode, String) {
        let seen = |what: &'static str| {
            Router::new().fallback(any(async move |request: Request| format!("{what} {}", request.uri())))
        };
        let mut router = before(seen("services"), seen("guarded"));
        let mut request = Request::builder().uri(path).header(HOST, host).body(Body::empty()).unwrap();
        if let Some(scheme) = scheme {
            request.extensions_mut().insert(scheme);
        }
        let answer = router.call(request).await.unwrap();
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), 1000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn names_of_aws_lead_to_the_places_of_their_services() {
        for (host, path, expected) in [
            ("abc.execute-api.us-east-1.amazonaws.com", "/prod/@connections/x%3D", "services /prod/@connections/x%3D"),
            ("DynamoDB.us-east-1.amazonaws.com:443", "/", "services /_aws/"),
            ("sqs.eu-west-1.amazonaws.com", "/0/q?a=b", "services /_aws/0/q?a=b"),
            ("s3.us-east-1.amazonaws.com", "/photos/a", "services /photos/a"),
            ("s3.amazonaws.com", "/photos/a", "services /photos/a"),
            ("photos.s3.amazonaws.com", "/a?x", "services /a?x"),
            ("photos.s3.us-east-1.amazonaws.com", "/a", "services /a"),
            ("sqs.s3.amazonaws.com", "/a", "services /a"),
            ("photos.s3-eu-west-1.amazonaws.com", "/a", "services /a"),
            (
                "lambda.us-east-1.amazonaws.com",
                "/2015-03-31/functions/f/invocations",
                &*format!("services {}/2015-03-31/functions/f/invocations", other_services::PATH),
            ),
            ("sts.amazonaws.com", "/", &*format!("services {}/", other_services::PATH)),
            ("127.0.0.1:8000", "/prod", "guarded /prod"),
            ("amazonaws.com", "/", "guarded /"),
            ("amazonaws.com.example", "/", "guarded /"),
        ] {
            assert_eq!(arrives(host, path).await, expected, "{host}{path}");
        }
    }

    #[tokio::test]
    async fn names_of_aws_are_refused_without_tls_because_a_page_can_rebind_them() {
        for scheme in [None, Some(Scheme::Http)] {
            let (status, body) = answer(scheme, "sqs.us-east-1.amazonaws.com:8000", "/").await;
            assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
            assert!(body.contains("use https"), "{body}");
            assert_eq!(answer(scheme, "127.0.0.1:8000", "/").await.1, "guarded /");
        }
    }
}
