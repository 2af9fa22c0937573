//! POST Object: a file from a browser's form, checked against the policy in the form and its signature.
//!
//! The protocol library has this too, but it holds the file in memory and refuses forms older than a quarter of an
//! hour.

use aws_lc_rs::hmac;
use axum::body::{Body, BodyDataStream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HOST, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use s3s::dto::ObjectCannedACL;
use s3s::{S3Result, s3_error};

use super::access::{self, Entrance, Keys};
use super::changes::store;
use super::conditions::WriteConditions;
use super::lending::Lent;
use super::multipart::{Form, FormError};
use super::notifications::Happening;
use super::object::{Description, Head};
use super::operations::{check_metadata, failed, refuse_what_is_not_kept};
use super::policy::{FormFields, Policy};
use super::response::{error_response, escaped, into_response};
use super::store::{Bucket, Store};
use super::upload::Broken;

use crate::clock::now_ms;
use crate::needs;

/// The size limit of all fields before the file.
const MAX_FIELDS_BYTES: usize = 20 * 1024;
const MAX_KEY_BYTES: usize = 1024;
const FILENAME: &str = "${filename}";

/// Whether the request is a form upload to a bucket.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.to_ascii_lowercase().starts_with("multipart/form-data")
}

pub(super) async fn post(
    (objects, keys): (&Store, &Keys),
    bucket: &std::sync::Arc<Bucket>,
    entrance: &Entrance,
    headers: &HeaderMap,
    body: Lent,
) -> Response<Body> {
    match receive((objects, keys), bucket, entrance, headers, body).await {
        Ok(response) => response,
        Err(Refusal::Plain(error)) => into_response(error),
        Err(Refusal::TooLarge(most)) => {
            // S3 also sends ProposedSize. Here the file is not read to its end, so its size is unknown.
            let (message, most) = ("Your proposed upload exceeds the maximum allowed size", most.to_string());
            error_response(StatusCode::BAD_REQUEST, "EntityTooLarge", message, &[("MaxSizeAllowed", &most)])
        }
        Err(Refusal::TooSmall(size, least)) => {
            let message = "Your proposed upload is smaller than the minimum allowed size";
            let details = [("ProposedSize", &*size.to_string()), ("MinSizeAllowed", &*least.to_string())];
            error_response(StatusCode::BAD_REQUEST, "EntityTooSmall", message, &details)
        }
    }
}

enum Refusal {
    Plain(s3s::S3Error),
    TooLarge(u64),
    TooSmall(u64, u64),
}

impl From<s3s::S3Error> for Refusal {
    fn from(error: s3s::S3Error) -> Self {
        Self::Plain(error)
    }
}

async fn receive(
    (objects, keys): (&Store, &Keys),
    bucket: &std::sync::Arc<Bucket>,
    entrance: &Entrance,
    headers: &HeaderMap,
    body: Lent,
) -> Result<Response<Body>, Refusal> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !headers.contains_key(CONTENT_LENGTH) {
        return Err(s3_error!(MissingContentLength, "You must provide the Content-Length HTTP header.").into());
    }
    let form = Form::new(Body::new(body).into_data_stream(), kind);
    let mut form = form.ok_or(FormError::Malformed("There is no boundary")).map_err(malformed)?;
    let (fields, filename) = fields(&mut form).await?;

    let key = fields.get("key").filter(|key| !key.is_empty()).ok_or_else(|| missing("key"))?;
    let key = key.replace(FILENAME, &filename);
    if key.len() > MAX_KEY_BYTES {
        return Err(s3_error!(KeyTooLongError, "Your key is too long").into());
    }
    let policy = authenticate(keys, &bucket.spec.name, &key, &fields, entrance).await?;
    let acl = fields.get("acl").map(|acl| ObjectCannedACL::from(acl.to_owned()));
    refuse_what_is_not_kept(acl.as_ref(), fields.get("tagging").is_some())?;
    let description = description(&fields);
    check_metadata(&description)?;

    let (least, most) = policy.length.into_inner();
    let upload = objects.upload(&[]).await.map_err(failed)?;
    let arrived = upload.receive(form.into_pieces(), most).await.map_err(|broken| match broken {
        Broken::TooLarge(most) => Refusal::TooLarge(most),
        broken => Refusal::Plain(broken.into()),
    })?;
    if arrived.size_bytes < least {
        return Err(Refusal::TooSmall(arrived.size_bytes, least));
    }
    let cause = (Happening::Post, entrance.origin());
    let head = store(bucket, arrived, &key, description, WriteConditions::default(), cause).await?;
    Ok(success(&fields, &bucket.spec.name, &head, headers))
}

/// Reads the fields before the file, and the file's name. The file itself is read later. Fields after it are ignored.
async fn fields(form: &mut Form<BodyDataStream>) -> S3Result<(FormFields, String)> {
    let mut fields = FormFields::default();
    let mut bytes = 0;
    while let Some(part) = form.next_part().await.map_err(malformed)? {
        if part.name.eq_ignore_ascii_case("file") {
            // Some old browsers sent whole paths.
            let filename = part.filename.unwrap_or_default();
            return Ok((fields, filename.rsplit(['/', '\\']).next().unwrap_or_default().to_owned()));
        }
        let mut value = Vec::new();
        bytes += part.name.len();
        while let Some(piece) = form.piece().await.map_err(malformed)? {
            bytes += piece.len();
            if bytes > MAX_FIELDS_BYTES {
                return Err(s3_error!(
                    MaxPostPreDataLengthExceededError,
                    "Your POST request fields preceding the upload file were too large."
                ));
            }
            value.extend_from_slice(&piece);
        }
        let value = String::from_utf8(value).map_err(|_| s3_error!(InvalidArgument, "Form fields must be UTF-8"))?;
        fields.push(&part.name, value);
    }
    Err(s3_error!(InvalidArgument, "POST requires exactly one file upload per request."))
}

/// Checks that a function signed the form's policy and that the form satisfies it.
async fn authenticate(
    keys: &Keys,
    bucket: &str,
    object: &str,
    fields: &FormFields,
    entrance: &Entrance,
) -> S3Result<Policy> {
    let Some(encoded) = fields.get("policy") else { return Err(s3_error!(AccessDenied, "Access Denied")) };
    let field = |name: &str| fields.get(name).ok_or_else(|| missing(name));
    if field("x-amz-algorithm")? != "AWS4-HMAC-SHA256" {
        return Err(s3_error!(InvalidArgument, "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    let (credential, date, signature) = (field("x-amz-credential")?, field("x-amz-date")?, field("x-amz-signature")?);
    let [access_key, day, region, "s3", "aws4_request"] = *credential.split('/').collect::<Vec<_>>().as_slice() else {
        return Err(s3_error!(InvalidArgument, "Invalid X-Amz-Credential: {credential}"));
    };
    if date.split('T').next() != Some(day) {
        return Err(s3_error!(InvalidArgument, "X-Amz-Date is not of the day in X-Amz-Credential"));
    }
    let secret = keys.secret(access_key)?;
    let key = signing_key(secret, day, region);
    let given = from_hex(signature).unwrap_or_default();
    if hmac::verify(&key, encoded.as_bytes(), &given).is_err() {
        return Err(s3_error!(
            SignatureDoesNotMatch,
            "The request signature we calculated does not match the signature you provided. Check your key and signing \
             method."
        ));
    }
    access::check_token(fields.get("x-amz-security-token"))?;
    let policy = Policy::parse(encoded)?;
    policy.check(bucket, fields, now_ms())?;
    let needs = needs::of_object_call("PostObject", bucket, object, None);
    entrance.enter(access_key, None, "PostObject", needs).await?;
    Ok(policy)
}

/// The signing key of AWS's signature version 4, for a day, a region and a service.
fn signing_key(secret: &str, day: &str, region: &str) -> hmac::Key {
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    for part in [day, region, "s3", "aws4_request"] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
    }
    key
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    // `from_str_radix` would take a sign, too.
    let text = Some(text).filter(|text| text.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn description(fields: &FormFields) -> Description {
    let field = |name: &str| fields.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
    let metadata = fields.iter().filter_map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        Some((name.strip_prefix("x-amz-meta-")?.to_owned(), value.to_owned()))
    });
    Description {
        content_type: field("content-type"),
        content_disposition: field("content-disposition"),
        content_encoding: field("content-encoding"),
        content_language: field("content-language"),
        cache_control: field("cache-control"),
        expires: field("expires"),
        metadata: metadata.collect(),
    }
}

fn success(fields: &FormFields, bucket: &str, head: &Head, headers: &HeaderMap) -> Response<Body> {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (key, etag) = (encoded(&head.key), format!("\"{}\"", head.etag));
    let location = format!("http://{host}/{bucket}/{key}");
    let mut response = Response::new(Body::empty());
    let mut show = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    show(ETAG, &etag);
    let redirect = fields.get("success_action_redirect").or_else(|| fields.get("redirect"));
    // An invalid address is ignored, as in S3.
    if let Some(url) = redirect.filter(|url| url.parse::<http::Uri>().is_ok_and(|url| url.host().is_some())) {
        let separator = if url.contains('?') { '&' } else { '?' };
        show(LOCATION, &format!("{url}{separator}bucket={bucket}&key={key}&etag=%22{}%22", head.etag));
        *response.status_mut() = StatusCode::SEE_OTHER;
        return response;
    }
    show(LOCATION, &location);
    *response.status_mut() = match fields.get("success_action_status") {
        Some("200") => StatusCode::OK,
        Some("201") => StatusCode::CREATED,
        _ => StatusCode::NO_CONTENT,
    };
    if response.status() == StatusCode::CREATED {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{}</Location><Bucket>{bucket}</Bucket>\
             <Key>{}</Key><ETag>{}</ETag></PostResponse>",
            escaped(&location),
            escaped(&head.key),
            escaped(&etag)
        );
        *response.body_mut() = Body::from(body);
    }
    response
}

fn encoded(key: &str) -> String {
    let byte = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    key.bytes().map(byte).collect()
}

fn missing(name: &str) -> s3s::S3Error {
    s3_error!(
        InvalidArgument,
        "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
    )
}

fn malformed(error: FormError) -> s3s::S3Error {
    s3_error!(MalformedPOSTRequest, "The body of your POST request is not well-formed multipart/form-data. ({error})")
}
