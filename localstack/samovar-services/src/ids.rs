//! Request ids of S3 and of other services.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

/// A random UUID, as Lambda and SNS have them.
#[allow(clippy::disallowed_methods, reason = "an id is random")]
pub(crate) fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Eleven random bytes, such as `BFHPhfCWIAMCKlQ=`.
#[allow(clippy::disallowed_methods, reason = "the one place where the services make ids")]
pub(crate) fn request_id() -> String {
    let mut bytes = [0; 11];
    fastrand::fill(&mut bytes);
    URL_SAFE.encode(bytes)
}
