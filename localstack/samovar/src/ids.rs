//! Ids in API Gateway's form (eleven random bytes, which give sixteen characters, the last of them `=`), and the UUIDs
//! of requests to Lambda and to REST APIs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

use crate::clock::now_ms;

const BYTES: usize = 11;

/// A connection, request or message id, such as `BFHPhfCWIAMCKlQ=`.
#[allow(clippy::disallowed_methods, reason = "the one place where the edge makes ids")]
pub(crate) fn gateway_id() -> String {
    let mut bytes = [0; BYTES];
    fastrand::fill(&mut bytes);
    URL_SAFE.encode(bytes)
}

/// A request id of Lambda or of a REST API, such as `5b3b1ba2-2c4c-4b0c-8a3c-6d5f2a0f3c11`.
#[allow(clippy::disallowed_methods, reason = "a request id is random")]
pub(crate) fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A new trace header, as API Gateway adds it to a request in `X-Amzn-Trace-Id`.
#[allow(clippy::disallowed_methods, reason = "a trace id is random")]
pub(crate) fn gateway_trace_header() -> String {
    format!("Root=1-{:08x}-{:024x}", now_ms() / 1000, fastrand::u128(..) >> 32)
}

/// Whether the text has the form of a [`gateway_id`].
pub(crate) fn is_gateway_id(text: &str) -> bool {
    URL_SAFE.decode(text).is_ok_and(|bytes| bytes.len() == BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_looks_like_one_of_api_gateway() {
        let id = gateway_id();
        assert_eq!((id.len(), id.ends_with('=')), (16, true), "{id}");
        assert!(is_gateway_id(&id) && is_gateway_id("BFHPhfCWIAMCKlQ="));
        for bad in ["", "nonsense", "BFHPhfCWIAMCKlQ", "BFHPhfCWIAMCKlQ==", "../../../../../.="] {
            assert!(!is_gateway_id(bad), "{bad}");
        }
    }
}
