//! ListObjects, old and new (version 2): pages of keys and, with a delimiter, of the common prefixes up to it.

use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::dto::{
    CommonPrefix, ETag, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output,
    Object, ObjectStorageClass,
};
use s3s::{S3Result, s3_error};

use super::object::{Head, modified};
use super::store::{Bucket, Heads};

const MAX_KEYS: i32 = 1000;

#[derive(Debug, Default)]
struct Page {
    objects: Vec<Object>,
    prefixes: Vec<String>,
    /// The last object or prefix of the page, if there are more.
    more_after: Option<String>,
}

pub(super) fn list(bucket: &Bucket, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
    let max_keys = max_keys(input.max_keys)?;
    let token = input.continuation_token.as_deref().map(read_token).transpose()?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    // A page begins after the end of the previous one. The first page begins after `start-after`.
    let after = token.as_deref().or(input.start_after.as_deref());
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let most = usize::try_from(max_keys).unwrap_or_default();
    let page = bucket.list(prefix, from, |heads| page(heads, prefix, delimiter, token.as_deref(), most));

    let shown = shown_as(input.encoding_type.as_ref());
    let count = page.objects.len() + page.prefixes.len();
    let more_after = page.more_after.clone();
    let (contents, common_prefixes) = page.shown(&shown);
    Ok(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(shown(input.prefix.unwrap_or_default())),
        delimiter: input.delimiter.map(&shown),
        start_after: input.start_after.map(&shown),
        max_keys: Some(max_keys),
        key_count: i32::try_from(count).ok(),
        is_truncated: Some(more_after.is_some()),
        next_continuation_token: more_after.map(|after| URL_SAFE_NO_PAD.encode(after)),
        continuation_token: input.continuation_token,
        contents,
        common_prefixes,
        encoding_type: input.encoding_type,
        ..ListObjectsV2Output::default()
    })
}

/// Version 1: a page begins after a key or prefix that the client names, the last one that it has.
pub(super) fn list_by_marker(bucket: &Bucket, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
    let max_keys = max_keys(input.max_keys)?;
    let marker = input.marker.as_deref().filter(|marker| !marker.is_empty());
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let from = marker.map_or(Bound::Unbounded, Bound::Excluded);
    let most = usize::try_from(max_keys).unwrap_or_default();
    let page = bucket.list(prefix, from, |heads| page(heads, prefix, delimiter, marker, most));

    let shown = shown_as(input.encoding_type.as_ref());
    let more_after = page.more_after.clone();
    let (contents, common_prefixes) = page.shown(&shown);
    Ok(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(shown(input.prefix.clone().unwrap_or_default())),
        marker: Some(shown(input.marker.clone().unwrap_or_default())),
        max_keys: Some(max_keys),
        is_truncated: Some(more_after.is_some()),
        // Without a delimiter, the last key of a page is the next marker.
        next_marker: more_after.filter(|_| delimiter.is_some()).map(&shown),
        delimiter: input.delimiter.clone().map(&shown),
        contents,
        common_prefixes,
        encoding_type: input.encoding_type,
        ..ListObjectsOutput::default()
    })
}

fn max_keys(given: Option<i32>) -> S3Result<i32> {
    match given.unwrap_or(MAX_KEYS) {
        ..0 => Err(s3_error!(InvalidArgument, "max-keys cannot be negative")),
        given => Ok(given.min(MAX_KEYS)),
    }
}

/// How keys are written in a list.
fn shown_as(encoding: Option<&EncodingType>) -> impl Fn(String) -> String + use<> {
    let encoded = encoding.is_some_and(|encoding| encoding.as_str() == EncodingType::URL);
    move |text| if encoded { url_encoded(&text) } else { text }
}

impl Page {
    fn shown(self, shown: &impl Fn(String) -> String) -> (Option<Vec<Object>>, Option<Vec<CommonPrefix>>) {
        let object = |object: Object| Object { key: object.key.map(shown), ..object };
        let objects: Vec<_> = self.objects.into_iter().map(object).collect();
        let prefix = |prefix| CommonPrefix { prefix: Some(shown(prefix)) };
        let prefixes: Vec<_> = self.prefixes.into_iter().map(prefix).collect();
        (Some(objects).filter(|objects| !objects.is_empty()), Some(prefixes).filter(|prefixes| !prefixes.is_empty()))
    }
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
        // The previous page ended with this prefix, or this page already has it.
        if common.is_some_and(|common| token == Some(common) || last.as_deref() == Some(common)) {
            continue;
        }
        if page.objects.len() + page.prefixes.len() == most {
            // S3 calls an empty page complete.
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

/// Encodes a key as S3 does in lists: everything but letters, digits and `-._~/*` is escaped. A space becomes a plus.
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
