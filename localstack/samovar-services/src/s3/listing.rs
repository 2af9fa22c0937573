//! ListObjectsV2: pages of keys, and with a delimiter of what they have in common up to it.

use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::dto::{CommonPrefix, ETag, EncodingType, ListObjectsV2Input, ListObjectsV2Output, Object, ObjectStorageClass};
use s3s::{S3Result, s3_error};

use super::object::{Head, modified};
use super::store::{Bucket, Heads};

const MAX_KEYS: i32 = 1000;

#[derive(Debug, Default)]
struct Page {
    objects: Vec<Object>,
    prefixes: Vec<String>,
    /// The last object or prefix, if there is more.
    more_after: Option<String>,
}

pub(super) fn list(bucket: &Bucket, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
    let max_keys = match input.max_keys.unwrap_or(MAX_KEYS) {
        ..0 => return Err(s3_error!(InvalidArgument, "max-keys cannot be negative")),
        given => given.min(MAX_KEYS),
    };
    let token = input.continuation_token.as_deref().map(read_token).transpose()?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    // A page goes on where the one before ended; the first begins after `start-after`.
    let after = token.as_deref().or(input.start_after.as_deref());
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let most = usize::try_from(max_keys).unwrap_or_default();
    let page = bucket.list(prefix, from, |heads| page(heads, prefix, delimiter, token.as_deref(), most));

    let encoded = input.encoding_type.as_ref().is_some_and(|encoding| encoding.as_str() == EncodingType::URL);
    let shown = |text: String| if encoded { url_encoded(&text) } else { text };
    let count = page.objects.len() + page.prefixes.len();
    let objects: Vec<_> =
        page.objects.into_iter().map(|object| Object { key: object.key.map(shown), ..object }).collect();
    let prefixes: Vec<_> =
        page.prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(shown(prefix)) }).collect();
    Ok(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(shown(input.prefix.unwrap_or_default())),
        delimiter: input.delimiter.map(shown),
        start_after: input.start_after.map(shown),
        max_keys: Some(max_keys),
        key_count: i32::try_from(count).ok(),
        is_truncated: Some(page.more_after.is_some()),
        next_continuation_token: page.more_after.map(|after| URL_SAFE_NO_PAD.encode(after)),
        continuation_token: input.continuation_token,
        contents: Some(objects).filter(|objects| !objects.is_empty()),
        common_prefixes: Some(prefixes).filter(|prefixes| !prefixes.is_empty()),
        encoding_type: input.encoding_type,
        ..ListObjectsV2Output::default()
    })
}

fn page(heads: &mut Heads<'_>, prefix: &str, delimiter: Option<&str>, token: Option<&str>, most: usize) -> Page {
    let mut page = Page::default();
    let mut last: Option<String> = None;
    for head in heads {
        let rest = head.key.get(prefix.len()..).unwrap_or_default();
        let common = delimiter.and_then(|delimiter| {
            let at = rest.find(delimiter)?;
            head.key.get(..prefix.len() + at + delimiter.len())
        });
        // The page before ended with this prefix, or this one has it already.
        if common.is_some_and(|common| token == Some(common) || last.as_deref() == Some(common)) {
            continue;
        }
        if page.objects.len() + page.prefixes.len() == most {
            // S3 says of an empty page that it is all.
            page.more_after = last;
            break;
        }
        match common {
            Some(common) => page.prefixes.push(common.to_owned()),
            None => page.objects.push(object(head)),
        }
        last = Some(common.unwrap_or(&head.key).to_owned());
    }
    page
}

fn object(head: &Head) -> Object {
    Object {
        key: Some(head.key.clone()),
        size: i64::try_from(head.size_bytes).ok(),
        e_tag: Some(ETag::Strong(head.etag.clone())),
        last_modified: Some(modified(head)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..Object::default()
    }
}

fn read_token(token: &str) -> S3Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}

/// As S3 encodes keys in lists: all but letters, digits, and `-._~/*`; a space is a plus.
fn url_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b' ' => encoded.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"-._~/*".contains(&byte) => encoded.push(char::from(byte)),
            byte => drop(write!(encoded, "%{byte:02X}")),
        }
        encoded
    })
}
