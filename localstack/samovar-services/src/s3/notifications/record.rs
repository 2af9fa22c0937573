//! The event in the form of S3, by "Event message structure" in the S3 user guide, version 2.1.

use serde_json::{Value, json};

use crate::s3::object::Head;

const REGION: &str = "us-east-1";
/// S3 itself, as the caller and the address of what it does on its own.
const ITSELF: &str = "s3.amazonaws.com";
/// The canonical user of the account.
const OWNER: &str = "A0LOCAL00000000";

/// The ways in which an object comes and goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::s3) enum Happening {
    Put,
    Post,
    Copy,
    CompleteMultipartUpload,
    Delete,
    Expire,
}

impl Happening {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Put => "ObjectCreated:Put",
            Self::Post => "ObjectCreated:Post",
            Self::Copy => "ObjectCreated:Copy",
            Self::CompleteMultipartUpload => "ObjectCreated:CompleteMultipartUpload",
            Self::Delete => "ObjectRemoved:Delete",
            Self::Expire => "LifecycleExpiration:Delete",
        }
    }
}

/// A change of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::s3) struct Changed {
    pub(in crate::s3) happening: Happening,
    pub(in crate::s3) key: String,
    /// Size and ETag, unless the object is gone.
    pub(in crate::s3) object: Option<(u64, String)>,
    /// Later changes of the same key have higher numbers.
    pub(in crate::s3) sequence: u64,
    pub(in crate::s3) at_ms: i64,
}

impl Changed {
    pub(in crate::s3) fn made(happening: Happening, head: &Head, sequence: u64) -> Self {
        let object = Some((head.size_bytes, head.etag.clone()));
        Self { happening, key: head.key.clone(), object, sequence, at_ms: head.modified_ms }
    }

    pub(in crate::s3) fn gone(happening: Happening, key: &str, sequence: u64, at_ms: i64) -> Self {
        Self { happening, key: key.to_owned(), object: None, sequence, at_ms }
    }
}

/// The request that has changed an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::s3) struct Origin {
    /// The function that made or signed the request; nothing for S3 itself.
    pub(in crate::s3) function: Option<String>,
    pub(in crate::s3) source_ip: String,
    pub(in crate::s3) request_id: String,
}

impl Origin {
    /// S3 itself, which deletes expired objects.
    pub(in crate::s3) fn itself(request_id: String) -> Self {
        Self { function: None, source_ip: ITSELF.to_owned(), request_id }
    }
}

pub(super) fn event(bucket: &str, configuration: &str, changed: &Changed, origin: &Origin) -> String {
    let mut object = json!({ "key": encoded(&changed.key), "sequencer": format!("{:018X}", changed.sequence) });
    if let Some((size, etag)) = &changed.object {
        object["size"] = (*size).into();
        object["eTag"] = Value::from(etag.as_str());
    }
    let principal = match &origin.function {
        // The id of a role and the name of its session.
        Some(function) => format!("AWS:AROALOCAL:{function}"),
        None => ITSELF.to_owned(),
    };
    let time = jiff::Timestamp::from_millisecond(changed.at_ms).unwrap_or_default();
    let record = json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": format!("{time:.3}"),
        "eventName": changed.happening.name(),
        "userIdentity": { "principalId": principal },
        "requestParameters": { "sourceIPAddress": origin.source_ip },
        "responseElements": { "x-amz-request-id": origin.request_id, "x-amz-id-2": origin.request_id },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration,
            "bucket": {
                "name": bucket,
                "ownerIdentity": { "principalId": OWNER },
                "arn": format!("arn:aws:s3:::{bucket}"),
            },
            "object": object,
        },
    });
    json!({ "Records": [record] }).to_string()
}

/// The type and the detail of the event for EventBridge, by "EventBridge event message structure" in the S3 user guide.
/// Keys are not encoded there.
pub(super) fn detail(bucket: &str, changed: &Changed, origin: &Origin, account_id: &str) -> (&'static str, Value) {
    let (detail_type, reason) = match changed.happening {
        Happening::Put => ("Object Created", "PutObject"),
        Happening::Post => ("Object Created", "POST Object"),
        Happening::Copy => ("Object Created", "CopyObject"),
        Happening::CompleteMultipartUpload => ("Object Created", "CompleteMultipartUpload"),
        Happening::Delete => ("Object Deleted", "DeleteObject"),
        Happening::Expire => ("Object Deleted", "Lifecycle Expiration"),
    };
    let mut object = json!({ "key": changed.key, "sequencer": format!("{:018X}", changed.sequence) });
    if let Some((size, etag)) = &changed.object {
        object["size"] = (*size).into();
        object["etag"] = Value::from(etag.as_str());
    }
    let itself = changed.happening == Happening::Expire;
    let mut detail = json!({
        "version": "0",
        "bucket": { "name": bucket },
        "object": object,
        "request-id": origin.request_id,
        "requester": if itself { ITSELF } else { account_id },
        "reason": reason,
    });
    if !itself {
        detail["source-ip-address"] = Value::from(origin.source_ip.as_str());
    }
    if changed.object.is_none() {
        detail["deletion-type"] = "Permanently Deleted".into();
    }
    (detail_type, detail)
}

/// A key as S3 writes it into events: in the form of URLs' queries, but with its slashes.
fn encoded(key: &str) -> String {
    let byte = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        byte if byte.is_ascii_alphanumeric() || b"-._*/".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    key.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_encoded_as_in_a_query_and_keeps_its_slashes() {
        assert_eq!(encoded("in/red flower (1)+é%.jpg"), "in/red+flower+%281%29%2B%C3%A9%25.jpg");
    }

    #[test]
    fn events_for_eventbridge_name_the_reason_and_have_the_plain_key() {
        let origin = Origin { function: None, source_ip: "1.2.3.4".to_owned(), request_id: "R".to_owned() };
        let made = Changed {
            happening: Happening::Put,
            key: "a key".to_owned(),
            object: Some((5, "b1946ac92492d2347c6235b4d2611184".to_owned())),
            sequence: 1,
            at_ms: 0,
        };
        let expected = json!({
            "version": "0",
            "bucket": { "name": "b" },
            "object": {
                "key": "a key",
                "size": 5,
                "etag": "b1946ac92492d2347c6235b4d2611184",
                "sequencer": "000000000000000001",
            },
            "request-id": "R",
            "requester": "000000000000",
            "source-ip-address": "1.2.3.4",
            "reason": "PutObject",
        });
        assert_eq!(detail("b", &made, &origin, "000000000000"), ("Object Created", expected));
        let gone = |happening| detail("b", &Changed::gone(happening, "k", 2, 0), &origin, "000000000000");
        let (kind, deleted) = gone(Happening::Delete);
        assert_eq!((kind, &deleted["reason"]), ("Object Deleted", &json!("DeleteObject")));
        assert_eq!(deleted["deletion-type"], "Permanently Deleted");
        let (_, expired) = gone(Happening::Expire);
        assert_eq!((&expired["reason"], &expired["requester"]), (&json!("Lifecycle Expiration"), &json!(ITSELF)));
        assert!(expired.get("source-ip-address").is_none());
    }

    #[test]
    fn a_sequencer_sorts_as_text() {
        let of = |sequence| {
            let changed = Changed::gone(Happening::Delete, "k", sequence, 0);
            let event: Value =
                serde_json::from_str(&event("b", "c", &changed, &Origin::itself(String::new()))).unwrap();
            event["Records"][0]["s3"]["object"]["sequencer"].as_str().unwrap().to_owned()
        };
        assert!(of(9) < of(10) && of(u64::from(u32::MAX)) < of(u64::MAX));
        assert_eq!(of(1).len(), 18);
    }
}
