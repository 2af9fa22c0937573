//! Verifies requests that are signed with AWS credentials: Signature Version 4, in the header `Authorization` or in the
//! query, as API Gateway and function URLs take it.
//!
//! The signature is computed again, over the request as it came, and compared. See "Create a signed AWS API request" in
//! the IAM user guide. Both services want the hash of the body, and a path whose escapes are escaped once more; S3
//! alone does not.
//!
//! The stack knows few credentials. Each function has its own, a person with a command line uses the access key
//! `local` with the secret `local`, and if functions share the credentials of another emulator, these are known too.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use aws_lc_rs::{constant_time, hmac};
use http::header::AUTHORIZATION;
use http::request;
use samovar_services::{Caller, Credentials, OTHER, SECRET_KEY, SESSION_TOKEN};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::clock::now_ms;
use crate::uri::query;

/// The access key of a person, whose secret is [`SECRET_KEY`].
const PERSON: &str = "local";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// A signature is refused if its time is further away than this.
const MAX_SKEW_MS: i64 = 5 * 60 * 1000;
/// A presigned address is valid for at most this long.
const MAX_EXPIRES_SECONDS: i64 = 7 * 24 * 60 * 60;

/// The credentials that the stack knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    functions: Vec<String>,
    shared: Option<Credentials>,
}

/// The one who has signed a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signer {
    pub(crate) access_key: String,
    pub(crate) caller: Caller,
}

/// The reason why a request is not taken as signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It has no signature.
    Unsigned,
    /// Its signature is not written as one of version 4, or is for another service.
    Malformed(&'static str),
    /// The access key, or the token beside it, is not known.
    UnknownKey,
    /// It is too old, or from the future.
    Expired,
    /// It was signed with another secret, or something in the request is not as it was signed.
    Mismatch,
}

impl Refused {
    /// API Gateway's words, and the type of the error.
    pub(crate) fn message(self) -> (&'static str, &'static str) {
        match self {
            Self::Unsigned => ("Missing Authentication Token", "MissingAuthenticationTokenException"),
            Self::Malformed(why) => (why, "IncompleteSignatureException"),
            Self::UnknownKey => {
                ("The security token included in the request is invalid.", "UnrecognizedClientException")
            }
            Self::Expired => ("Signature expired", "InvalidSignatureException"),
            Self::Mismatch => (
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details.",
                "InvalidSignatureException",
            ),
        }
    }
}

/// A signature as the request has it.
#[derive(Debug)]
struct Signature {
    access_key: String,
    /// `DATE/REGION/SERVICE/aws4_request`.
    scope: String,
    /// In lower case, in the order of the request.
    signed_headers: String,
    signature: String,
    /// `20260102T030405Z`.
    time: String,
    token: Option<String>,
    /// The seconds for which an address is valid that has the signature in its query.
    expires: Option<i64>,
}

impl Keys {
    /// The credentials of these functions, by their names, or those that they share.
    pub(crate) fn of<'a>(functions: impl Iterator<Item = &'a str>, shared: Option<&Credentials>) -> Self {
        Self { functions: functions.map(str::to_owned).collect(), shared: shared.cloned() }
    }

    fn signer(&self, access_key: &str, token: Option<&str>) -> Option<(String, Caller)> {
        let known = |function: &str, secret: &str| {
            let instance =
                token.and_then(|token| token.strip_prefix(SESSION_TOKEN)?.strip_prefix('/')).map(str::to_owned);
            (secret.to_owned(), Caller { function: function.to_owned(), instance })
        };
        let is_session = |token: &str| token == SESSION_TOKEN || token.starts_with(&format!("{SESSION_TOKEN}/"));
        let function = self.functions.iter().find(|name| samovar_services::access_key(name) == access_key);
        if let Some(function) = function {
            return token.is_some_and(is_session).then(|| known(function, SECRET_KEY));
        }
        if access_key == PERSON {
            return token.is_none_or(is_session).then(|| known(OTHER, SECRET_KEY));
        }
        let shared = self.shared.as_ref().filter(|shared| shared.access_key == access_key)?;
        (shared.session_token.as_deref() == token).then(|| known(OTHER, &shared.secret_key))
    }

    /// The signer of a request for this service (`execute-api`, `lambda`).
    ///
    /// # Errors
    /// The request is not signed, or not by anybody that the stack knows.
    pub(crate) fn verify(&self, head: &request::Parts, body: &[u8], service: &str) -> Result<Signer, Refused> {
        self.verify_at(head, body, service, now_ms())
    }

    fn verify_at(&self, head: &request::Parts, body: &[u8], service: &str, now: i64) -> Result<Signer, Refused> {
        let signature = Signature::of(head)?;
        let scope: Vec<&str> = signature.scope.split('/').collect();
        let [date, region, of, "aws4_request"] = scope[..] else {
            return Err(Refused::Malformed("The credential's scope is not DATE/REGION/SERVICE/aws4_request"));
        };
        if of != service {
            return Err(Refused::Malformed("The credential's scope is for another service"));
        }
        let signed_ms = milliseconds(&signature.time).filter(|_| signature.time.starts_with(date));
        let signed_ms = signed_ms.ok_or(Refused::Malformed("The signature has no time, or one of another day"))?;
        let lasts = signature.expires.map_or(MAX_SKEW_MS, |seconds| seconds.clamp(0, MAX_EXPIRES_SECONDS) * 1000);
        if now > signed_ms + lasts || now < signed_ms - MAX_SKEW_MS {
            return Err(Refused::Expired);
        }
        let signer = self.signer(&signature.access_key, signature.token.as_deref());
        let (secret, caller) = signer.ok_or(Refused::UnknownKey)?;
        let hash = hex(&Sha256::digest(body));
        // A client may send the hash. It has to be that of the body.
        let claimed = text(head, "x-amz-content-sha256").unwrap_or_else(|| hash.clone());
        let canonical = canonical(head, &signature, &hash).ok_or(Refused::Mismatch)?;
        let to_sign =
            format!("{ALGORITHM}\n{}\n{}\n{}", signature.time, signature.scope, hex(&Sha256::digest(canonical)));
        let key = [region, service, "aws4_request"]
            .iter()
            .fold(hmac(format!("AWS4{secret}").as_bytes(), date), |key, part| hmac(key.as_ref(), part));
        let own = hex(hmac(key.as_ref(), &to_sign).as_ref());
        let matches = constant_time::verify_slices_are_equal(own.as_bytes(), signature.signature.as_bytes()).is_ok();
        match matches && claimed == hash {
            true => Ok(Signer { access_key: signature.access_key, caller }),
            false => Err(Refused::Mismatch),
        }
    }
}

impl Signer {
    /// The ARN of a function's role session, or of a user.
    pub(crate) fn arn(&self, account_id: &str) -> String {
        let name = &self.caller.function;
        match name == OTHER {
            true => format!("arn:aws:iam::{account_id}:user/{}", self.access_key),
            false => format!("arn:aws:sts::{account_id}:assumed-role/{name}/{name}"),
        }
    }

    /// `requestContext.authorizer.iam` of an event in the payload format 2.0.
    pub(crate) fn context(&self, account_id: &str) -> Value {
        json!({
            "accessKey": self.access_key,
            "accountId": account_id,
            "callerId": self.access_key,
            "cognitoIdentity": null,
            "principalOrgId": null,
            "userArn": self.arn(account_id),
            "userId": self.access_key,
        })
    }
}

impl Signature {
    fn of(head: &request::Parts) -> Result<Self, Refused> {
        let pairs = query(head.uri.query());
        let of_query = |name: &str| Some(pairs.iter().find(|(key, _)| key == name)?.1.clone());
        let header = text(head, AUTHORIZATION.as_str()).filter(|header| header.starts_with(ALGORITHM));
        let incomplete = || Refused::Malformed("The signature lacks Credential, SignedHeaders, Signature or a date");
        let (credential, signed_headers, signature, time, token, expires) = if let Some(header) = header {
            let parts = header[ALGORITHM.len()..].split(',');
            let part = |name: &str| {
                let mut parts = parts.clone();
                parts.find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
            };
            let (time, token) = (text(head, "x-amz-date"), text(head, "x-amz-security-token"));
            (part("Credential"), part("SignedHeaders"), part("Signature"), time, token, None)
        } else if of_query("X-Amz-Signature").is_some() {
            let expires = of_query("X-Amz-Expires").and_then(|seconds| seconds.parse().ok()).ok_or_else(incomplete)?;
            let (time, token) = (of_query("X-Amz-Date"), of_query("X-Amz-Security-Token"));
            let (credential, headers) = (of_query("X-Amz-Credential"), of_query("X-Amz-SignedHeaders"));
            (credential, headers, of_query("X-Amz-Signature"), time, token, Some(expires))
        } else {
            return Err(Refused::Unsigned);
        };
        let credential = credential.ok_or_else(incomplete)?;
        let (access_key, scope) = credential.split_once('/').ok_or_else(incomplete)?;
        Ok(Self {
            access_key: access_key.to_owned(),
            scope: scope.to_owned(),
            signed_headers: signed_headers.ok_or_else(incomplete)?,
            signature: signature.ok_or_else(incomplete)?,
            time: time.ok_or_else(incomplete)?,
            token,
            expires,
        })
    }
}

/// The canonical form of a request, or nothing if a signed header is not there, or the host is not signed.
fn canonical(head: &request::Parts, signature: &Signature, hash: &str) -> Option<String> {
    let mut pairs: Vec<_> = query(head.uri.query())
        .into_iter()
        .filter(|(name, _)| name != "X-Amz-Signature")
        .map(|(name, value)| format!("{}={}", encode(&name, false), encode(&value, false)))
        .collect();
    pairs.sort();
    let mut headers = String::new();
    let names: Vec<&str> = signature.signed_headers.split(';').collect();
    for name in &names {
        let values: Vec<String> = head
            .headers
            .get_all(*name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        if values.is_empty() {
            return None;
        }
        let _ = writeln!(headers, "{name}:{}", values.join(","));
    }
    names.contains(&"host").then(|| {
        let (path, query) = (encode(head.uri.path(), true), pairs.join("&"));
        format!("{}\n{path}\n{query}\n{headers}\n{}\n{hash}", head.method, signature.signed_headers)
    })
}

/// Percent-encodes everything but the characters that RFC 3986 does not reserve, and perhaps slashes.
fn encode(text: &str, slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            b'/' if slashes => encoded.push('/'),
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

fn hmac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn milliseconds(time: &str) -> Option<i64> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", time).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

fn text(head: &request::Parts, name: &str) -> Option<String> {
    head.headers.get(name)?.to_str().ok().map(str::to_owned)
}
