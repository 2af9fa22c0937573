//! The credentials of functions. They contain the function's name, so that calls can be told apart.

/// The access key of a function. It contains the function's name, so that calls can be told apart.
pub fn access_key(function: &str) -> String {
    format!("LOCAL-{function}")
}

/// The secret key of every function.
pub const SECRET_KEY: &str = "local";
/// The session token of every function.
pub const SESSION_TOKEN: &str = "local";

/// The function that signed a request. It is empty if the signature is not a function's.
pub(crate) fn caller(authorization: &str) -> &str {
    let credential = authorization.split_once("Credential=").map_or("", |(_, rest)| rest);
    function_of(credential.split('/').next().unwrap_or_default())
}

/// The function to which an access key belongs.
pub(crate) fn function_of(access_key: &str) -> &str {
    access_key.strip_prefix("LOCAL-").unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_its_functions_by_the_access_key() {
        let key = access_key("send_message");
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/sqs/aws4_request, Signature=0");
        assert_eq!(caller(&authorization), "send_message");
        assert_eq!(caller("AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request"), "other");
        assert_eq!(caller(""), "other");
    }
}
