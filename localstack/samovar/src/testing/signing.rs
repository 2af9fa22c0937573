//! Requests that the SDK's own signer has signed.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningInstructions, SigningSettings, sign,
};
use aws_sigv4::sign::v4;

/// A `GET` with the text `body`, signed with the secret of functions.
pub(crate) fn signed(
    http: &reqwest::Client,
    service: &str,
    url: &str,
    access_key: &str,
    token: Option<&str>,
) -> reqwest::RequestBuilder {
    let instructions = instructions(service, url, (access_key, token), b"body", SignatureLocation::Headers);
    let request = http.get(url).body("body");
    instructions.headers().fold(request, |request, (name, value)| request.header(name, value))
}

/// The headers or query parameters of a signed `GET`, whose only other signed header is the host.
pub(crate) fn instructions(
    service: &str,
    url: &str,
    (access_key, token): (&str, Option<&str>),
    body: &[u8],
    location: SignatureLocation,
) -> SigningInstructions {
    let identity = Credentials::new(access_key, "local", token.map(str::to_owned), None, "test").into();
    let params = v4::SigningParams::builder().identity(&identity).region("us-east-1").name(service);
    let now: SystemTime = jiff::Timestamp::from_millisecond(crate::clock::now_ms()).unwrap().into();
    let mut settings = SigningSettings::default();
    if location == SignatureLocation::QueryParams {
        settings.expires_in = Some(std::time::Duration::from_secs(60));
    }
    settings.signature_location = location;
    let params = params.time(now).settings(settings).build().unwrap().into();
    let host = url.split_once("://").unwrap().1.split('/').next().unwrap();
    let headers = [("host", host)].into_iter();
    let signable = SignableRequest::new("GET", url, headers, SignableBody::Bytes(body)).unwrap();
    sign(signable, &params).unwrap().into_parts().0
}
