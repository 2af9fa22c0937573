//! The credentials that functions are given: they name the function, so that calls can be told apart.

/// The access key that a function is given: it names the function, so that calls can be told apart.
pub fn access_key(function: &str) -> String {
    format!("LOCAL-{function}")
}

/// The rest of every function's credentials.
pub const SECRET_KEY: &str = "local";
/// The session token of every function.
pub const SESSION_TOKEN: &str = "local";

/// The function that signed a request; nobody in particular where it was somebody else.
pub(crate) fn caller(authorization: &str) -> &str {
    let credential = authorization.split_once("Credential=").map_or("", |(_, rest)| rest);
    function_of(credential.split('/').next().unwrap_or_default())
}

/// The function that an access key is of.
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
