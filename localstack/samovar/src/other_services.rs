//! Calls of functions to services that the stack does not have. A function's SDK sends them here (`AWS_ENDPOINT_URL`),
//! so that none of them leaves for the real AWS. Each is answered with 501 and one sentence that names the service, in
//! the form that the SDKs read, and the log has the sentence too. SDKs do not repeat a call that is answered with 501.
//!
//! Lambda is one of them, except for its Invoke API.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, StatusCode};
use samovar_services::{Caller, OTHER};
use serde_json::json;

/// Where functions find the services that have no address of their own.
pub(crate) const PATH: &str = "/_aws/others";

/// `lambda` has the routes of Lambda's API.
pub(crate) fn router(lambda: Router) -> Router {
    let refusing = lambda.route("/", any(refuse)).route("/{*path}", any(refuse));
    // A nested router does not get the path that ends in a slash.
    Router::new().nest(PATH, refusing).route(&format!("{PATH}/"), any(refuse))
}

async fn refuse(request: Request) -> Response {
    let headers = request.headers();
    let service = service(headers).unwrap_or_else(|| "a service of AWS".to_owned());
    let sentence = match service.as_str() {
        "lambda" => "The local stack has only the call Invoke of lambda".to_owned(),
        _ => format!(
            "The local stack has no {service}, and calls to it do not leave this machine, unless the function's \
             Environment sets the AWS_ENDPOINT_URL_… of that service"
        ),
    };
    match Caller::of(headers).function {
        tool if tool == OTHER => tracing::warn!("{sentence}"),
        function => tracing::warn!("{function}: {sentence}"),
    }
    let form = Form::of(headers, &service);
    (StatusCode::NOT_IMPLEMENTED, form.headers(), form.body(&sentence)).into_response()
}

/// The name of the service that a request is meant for: by its signature, or by what the SDK says of itself.
fn service(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let signed = || text(AUTHORIZATION)?.split_once("Credential=")?.1.split([',', ' ']).next()?.split('/').nth(3);
    let agent = || text(USER_AGENT)?.split_once(" api/")?.1.split(['#', '/', ' ']).next();
    let named = signed().or_else(agent)?;
    let safe = named.chars().filter(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(*letter)).take(60);
    Some(safe.collect::<String>()).filter(|name| !name.is_empty())
}

/// The form of errors in the service's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Cbor,
    Xml,
    XmlOfEc2,
}

const KIND: &str = "NotImplementedException";

impl Form {
    fn of(headers: &HeaderMap, service: &str) -> Self {
        let starts =
            |name: &str, with: &str| headers.get(name).is_some_and(|it| it.as_bytes().starts_with(with.as_bytes()));
        match service {
            "ec2" => Self::XmlOfEc2,
            "cloudfront" | "route53" | "s3" => Self::Xml,
            _ if starts(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded") => Self::Xml,
            _ if starts("smithy-protocol", "rpc-v2-cbor") => Self::Cbor,
            _ => Self::Json,
        }
    }

    fn headers(self) -> HeaderMap {
        let json = ("content-type", "application/json");
        let pairs: &[(&'static str, &'static str)] = match self {
            Self::Json => &[json, ("x-amzn-errortype", KIND)],
            Self::Cbor => &[("content-type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")],
            Self::Xml | Self::XmlOfEc2 => &[("content-type", "text/xml")],
        };
        let pair = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    fn body(self, sentence: &str) -> Body {
        let error = format!("<Error><Code>{KIND}</Code><Message>{sentence}</Message></Error>");
        match self {
            Self::Json => json!({ "__type": KIND, "message": sentence }).to_string().into(),
            Self::Cbor => {
                // A map of two pairs.
                let mut body = vec![0xa2];
                for text in ["__type", KIND, "message", sentence] {
                    cbor_text(&mut body, text);
                }
                body.into()
            }
            Self::Xml => format!("<ErrorResponse>{error}</ErrorResponse>").into(),
            Self::XmlOfEc2 => format!("<Response><Errors>{error}</Errors></Response>").into(),
        }
    }
}

/// Appends a text in CBOR: its length in bytes, in one, two or three bytes, and the bytes.
fn cbor_text(to: &mut Vec<u8>, text: &str) {
    const TEXT: u8 = 0x60;
    match u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes() {
        [0, length @ ..24] => to.push(TEXT | length),
        [0, length] => to.extend([TEXT | 24, length]),
        [high, low] => to.extend([TEXT | 25, high, low]),
    }
    to.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use tower_service::Service as _;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| (http::HeaderName::from_static(name), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    fn signed(service: &str) -> String {
        let scope = format!("LOCAL-f/20260101/us-east-1/{service}/aws4_request");
        format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0")
    }

    #[test]
    fn a_service_is_known_by_the_signature_or_by_the_user_agent() {
        let of = |pairs: &[(&'static str, &str)]| service(&headers(pairs));
        assert_eq!(of(&[("authorization", &signed("secretsmanager"))]).as_deref(), Some("secretsmanager"));
        assert_eq!(of(&[("authorization", &signed("<sns>"))]).as_deref(), Some("sns"));
        let agent = "aws-sdk-rust/1.3 ua/2.1 api/bedrock-runtime/1.2 os/linux";
        assert_eq!(of(&[("authorization", "Bearer x"), ("user-agent", agent)]).as_deref(), Some("bedrock-runtime"));
        assert_eq!(of(&[("authorization", "AWS4-HMAC-SHA256 Credential=a/b")]), None);
        assert_eq!(of(&[]), None);
    }

    #[tokio::test]
    async fn each_protocol_gets_its_form_of_the_error() {
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        for (service, more, begins) in [
            (
                "secretsmanager",
                ("content-type", "application/x-amz-json-1.1"),
                r#"{"__type":"NotImplementedException","#,
            ),
            ("monitoring", ("smithy-protocol", "rpc-v2-cbor"), "f__typewNotImplementedExceptiongmessage"),
            ("sns", ("content-type", form), "<ErrorResponse><Error><Code>NotImplementedException</Code>"),
            ("ec2", ("content-type", form), "<Response><Errors><Error>"),
            ("route53", ("accept", "*/*"), "<ErrorResponse>"),
        ] {
            let call = |path: &str| {
                let mut request = http::Request::post(format!("{PATH}{path}")).body(Body::empty()).unwrap();
                *request.headers_mut() = headers(&[("authorization", &signed(service)), more]);
                router(Router::new()).call(request)
            };
            assert_eq!(call("").await.unwrap().status(), 501);
            assert_eq!(call("/").await.unwrap().status(), 501);
            let response = call("/some/path").await.unwrap();
            assert_eq!(response.status(), 501);
            let body = to_bytes(response.into_body(), 10_000).await.unwrap();
            let body = String::from_utf8_lossy(&body).into_owned();
            assert!(body.trim_start_matches('\u{fffd}').starts_with(begins), "{body}");
            assert!(body.contains(&format!("The local stack has no {service}, ")), "{body}");
        }
    }

    #[test]
    fn a_text_in_cbor_has_its_length_before_it() {
        for (length, head) in [(1, &[0x61][..]), (24, &[0x78, 24]), (300, &[0x79, 1, 44])] {
            let mut body = Vec::new();
            cbor_text(&mut body, &"x".repeat(length));
            assert_eq!((&body[..head.len()], body.len()), (head, head.len() + length));
        }
    }
}
