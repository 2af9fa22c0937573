//! The ids of requests.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

/// Eleven random bytes, such as `BFHPhfCWIAMCKlQ=`.
#[allow(clippy::disallowed_methods, reason = "the one place where the services make ids")]
pub(crate) fn request_id() -> String {
    let mut bytes = [0; 11];
    fastrand::fill(&mut bytes);
    URL_SAFE.encode(bytes)
}
