//! Servers that answer with redirects. No redirect is followed.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::response::IntoResponse as _;
use http::StatusCode;

use super::*;
use crate::invoke::{IntegrationError, InvokeEndpoint, Invoker as _};
use crate::testing::within;

const LEADS: [u16; 5] = [301, 302, 303, 307, 308];

/// Serves a router. Returns its URL.
async fn serve(router: Router) -> (String, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(crate::server::serve(listener, router, None, stop.clone()));
    (url, stop.drop_guard())
}

/// A server that counts its requests, whatever they are for.
async fn counting() -> (String, Arc<AtomicUsize>, DropGuard) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let answer = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { "{}" }
    };
    let (url, stop) = serve(Router::new().fallback(answer)).await;
    (url, count, stop)
}

/// A server that redirects all requests to the same path of another.
async fn leading(status: u16, to: &str) -> (String, DropGuard) {
    let to = to.to_owned();
    let lead = move |uri: http::Uri| {
        let location = format!("{to}{}", uri.path());
        async move { (StatusCode::from_u16(status).unwrap(), [("location", location)], "{}").into_response() }
    };
    serve(Router::new().fallback(lead)).await
}

#[tokio::test]
async fn keys_are_the_issuers_own() {
    let real = Issuer::start().await;
    let origin = real.url.trim_end_matches("/pool").to_owned();
    for status in LEADS {
        let (url, _stop) = leading(status, &origin).await;
        let issuer = format!("{url}/pool");
        let identity_source = IdentitySource::Header("Authorization".into());
        let spec = JwtAuthorizer { issuer: issuer.clone(), audience: vec![AUDIENCE.into()], identity_source };
        let bench = Bench::guarded_by(spec, &[]).await;
        let answer = bench.get_with("/me", &real.token(json!({ "iss": issuer }))).await;
        answer.assert_refused(401, "Unauthorized");
    }
    assert_eq!(real.asked(), 0);
}

#[tokio::test]
async fn events_go_to_the_invoke_endpoint_alone() {
    let (elsewhere, count, _stop) = counting().await;
    for status in LEADS {
        let (url, _stop) = leading(status, &elsewhere).await;
        let invoked = within("It answers", InvokeEndpoint::new(&url).invoke("f", "{}".into())).await;
        assert!(matches!(invoked, Err(IntegrationError::Host(_))), "{status}: {invoked:?}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
}
