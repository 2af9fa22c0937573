//! The credentials of functions. The access key contains the function's name, and the session token may contain the
//! process, so that calls can be told apart. Another emulator may know other [`Credentials`] only.

use std::fmt;

use http::HeaderMap;

/// Credentials that another emulator knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `AWS_ACCESS_KEY_ID`
    pub access_key: String,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_key: String,
    /// `AWS_SESSION_TOKEN`, which only temporary credentials have.
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// The access key of a function. It contains the function's name, so that calls can be told apart.
pub fn access_key(function: &str) -> String {
    format!("LOCAL-{function}")
}

/// The caller of a request that no function has signed.
pub const OTHER: &str = "other";

/// The secret key of every function.
pub const SECRET_KEY: &str = "local";
/// The session token of every function. A process of it may append a `/` and its own id.
pub const SESSION_TOKEN: &str = "local";

/// The function and the process that made a call, according to its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The function's name. It is [`OTHER`] if the signature is not a function's.
    pub function: String,
    /// The process, if the session token names one.
    pub instance: Option<String>,
}

impl Caller {
    /// Reads the headers of a signed request.
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let function = signer(text("authorization").unwrap_or_default()).to_owned();
        Self { function, instance: text("x-amz-security-token").and_then(instance) }
    }
}

/// The process that a session token names.
pub(crate) fn instance(token: &str) -> Option<String> {
    Some(token.strip_prefix(SESSION_TOKEN)?.strip_prefix('/')?.to_owned())
}

/// Whether a session token is one of a function.
pub(crate) fn is_session_token(token: &str) -> bool {
    token == SESSION_TOKEN || instance(token).is_some()
}

fn signer(authorization: &str) -> &str {
    let credential = authorization.split_once("Credential=").map_or("", |(_, rest)| rest);
    function_of(credential.split('/').next().unwrap_or_default())
}

/// The function to which an access key belongs.
pub(crate) fn function_of(access_key: &str) -> &str {
    access_key.strip_prefix("LOCAL-").unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_its_functions_by_the_access_key() {
        let key = access_key("send_message");
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/sqs/aws4_request, Signature=0");
        assert_eq!(signer(&authorization), "send_message");
        assert_eq!(signer("AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request"), "other");
        assert_eq!(signer(""), "other");
    }

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials {
            access_key: "key".to_owned(),
            secret_key: "hidden".to_owned(),
            session_token: Some("hidden".to_owned()),
        };
        let shown = format!("{credentials:?}");
        assert!(shown.contains("key") && !shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn a_session_token_may_name_the_process() {
        assert_eq!(instance("local/0123"), Some("0123".to_owned()));
        assert!(is_session_token("local") && is_session_token("local/0123"));
        for token in ["", "localhost", "other/0123"] {
            assert!(!is_session_token(token) && instance(token).is_none(), "{token}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-security-token", http::HeaderValue::from_static("local/7"));
        assert_eq!(Caller::of(&headers), Caller { function: "other".into(), instance: Some("7".into()) });
    }
}
