//! Requests that the SDK's own signer has signed.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;

/// A `GET` with the text `body`, signed with the secret of functions.
pub(crate) fn signed(
    http: &reqwest::Client,
    service: &str,
    url: &str,
    access_key: &str,
    token: Option<&str>,
) -> reqwest::RequestBuilder {
    let identity = Credentials::new(access_key, "local", token.map(str::to_owned), None, "test").into();
    let params = v4::SigningParams::builder().identity(&identity).region("us-east-1").name(service);
    let now: SystemTime = jiff::Timestamp::from_millisecond(crate::clock::now_ms()).unwrap().into();
    let params = params.time(now).settings(SigningSettings::default()).build().unwrap().into();
    let host = url.trim_start_matches("http://").split('/').next().unwrap();
    let headers = [("host", host)].into_iter();
    let signable = SignableRequest::new("GET", url, headers, SignableBody::Bytes(b"body")).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let request = http.get(url).body("body");
    instructions.headers().fold(request, |request, (name, value)| request.header(name, value))
}
