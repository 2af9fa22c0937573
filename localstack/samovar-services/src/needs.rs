//! Which permissions the calls of the services need.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::permissions::{Account, Need};

/// The parts of a request to DynamoDB that name its actions and tables.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct TableRequest<'a> {
    #[serde(borrow)]
    table_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    index_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    request_items: BTreeMap<Cow<'a, str>, IgnoredAny>,
    #[serde(borrow)]
    transact_items: Vec<BTreeMap<Cow<'a, str>, Part<'a>>>,
}

/// One of a transaction's parts.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Part<'a> {
    #[serde(borrow)]
    table_name: Cow<'a, str>,
}

/// What a call of DynamoDB needs. A request that can't be read needs nothing: the service refuses it anyway.
pub(crate) fn of_table_call(operation: &str, body: &[u8], account: &Account) -> Vec<Need> {
    let request: TableRequest<'_> = serde_json::from_slice(body).unwrap_or_default();
    let Account { region, id } = account;
    // A table may be named by its ARN.
    let arn = |table: &str| match table.starts_with("arn:") {
        true => table.to_owned(),
        false => format!("arn:aws:dynamodb:{region}:{id}:table/{table}"),
    };
    let mut needs = Vec::new();
    if let Some(table) = &request.table_name {
        let index = request.index_name.as_ref().map_or_else(String::new, |index| format!("/index/{index}"));
        needs.push(Need::new(format!("dynamodb:{operation}"), arn(table) + &index));
    }
    for table in request.request_items.keys() {
        needs.push(Need::new(format!("dynamodb:{operation}"), arn(table)));
    }
    for (kind, part) in request.transact_items.iter().flatten() {
        let action = match &**kind {
            "ConditionCheck" => "dynamodb:ConditionCheckItem",
            "Delete" => "dynamodb:DeleteItem",
            "Get" => "dynamodb:GetItem",
            "Put" => "dynamodb:PutItem",
            _ => "dynamodb:UpdateItem",
        };
        let need = Need::new(action, arn(&part.table_name));
        if !needs.contains(&need) {
            needs.push(need);
        }
    }
    if needs.is_empty() && operation.starts_with("List") {
        needs.push(Need::new(format!("dynamodb:{operation}"), "*".to_owned()));
    }
    needs
}

/// What a call of SQS needs. A batch needs the permission for one.
pub(crate) fn of_queue_call(operation: &str, queue: &str, account: &Account) -> Vec<Need> {
    let Account { region, id } = account;
    let resource = match queue.rsplit('/').next().unwrap_or_default() {
        "" => "*".to_owned(),
        name => format!("arn:aws:sqs:{region}:{id}:{name}"),
    };
    vec![Need::new(format!("sqs:{}", operation.strip_suffix("Batch").unwrap_or(operation)), resource)]
}

/// What a call of SNS needs. A batch needs the permission for one message.
pub(crate) fn of_topic_call(operation: &str, topic: &str) -> Vec<Need> {
    let resource = if topic.is_empty() { "*" } else { topic };
    vec![Need::new(format!("sns:{}", operation.strip_suffix("Batch").unwrap_or(operation)), resource.to_owned())]
}

/// What a call of S3 needs. `source` is the `BUCKET/KEY` of a copy.
pub(crate) fn of_object_call(operation: &str, bucket: &str, key: &str, source: Option<&str>) -> Vec<Need> {
    let of_bucket = |action: &'static str| vec![Need::new(action, bucket_arn(bucket))];
    let of_object = |action: &'static str| vec![Need::new(action, object_arn(bucket, key))];
    match operation {
        "GetObject" | "HeadObject" => of_object("s3:GetObject"),
        "CopyObject" | "UploadPartCopy" => {
            let mut needs = of_object("s3:PutObject");
            let (bucket, key) = source.and_then(|source| source.split_once('/')).unwrap_or_default();
            needs.push(Need::new("s3:GetObject", object_arn(bucket, key)));
            needs
        }
        "PutObject" | "PostObject" | "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" => {
            of_object("s3:PutObject")
        }
        "AbortMultipartUpload" => of_object("s3:AbortMultipartUpload"),
        "ListParts" => of_object("s3:ListMultipartUploadParts"),
        "DeleteObject" => of_object("s3:DeleteObject"),
        // Each key needs its own, and `operations` asks for them.
        "DeleteObjects" => Vec::new(),
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => of_bucket("s3:ListBucket"),
        "ListMultipartUploads" => of_bucket("s3:ListBucketMultipartUploads"),
        "ListBuckets" => vec![Need::new("s3:ListAllMyBuckets", "*".to_owned())],
        other => vec![Need::new(format!("s3:{other}"), bucket_arn(bucket))],
    }
}

/// What deleting an object needs.
pub(crate) fn to_delete(bucket: &str, key: &str) -> Need {
    Need::new("s3:DeleteObject", object_arn(bucket, key))
}

/// What seeing that an object is missing needs. Without it, S3 answers that access is denied.
pub(crate) fn to_list(bucket: &str) -> Need {
    Need::new("s3:ListBucket", bucket_arn(bucket))
}

fn bucket_arn(bucket: &str) -> String {
    format!("arn:aws:s3:::{bucket}")
}

fn object_arn(bucket: &str, key: &str) -> String {
    format!("arn:aws:s3:::{bucket}/{key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account { region: "us-east-1".to_owned(), id: "000000000000".to_owned() }
    }

    fn shown(needs: &[Need]) -> Vec<String> {
        needs.iter().map(|need| format!("{} {}", need.action, need.resource)).collect()
    }

    #[test]
    fn a_call_of_a_table_needs_its_own_action_and_a_transaction_those_of_its_parts() {
        let of = |operation, body: &str| shown(&of_table_call(operation, body.as_bytes(), &account()));
        let table = |name: &str| format!("arn:aws:dynamodb:us-east-1:000000000000:table/{name}");
        assert_eq!(of("GetItem", r#"{"TableName":"t","Key":{}}"#), [format!("dynamodb:GetItem {}", table("t"))]);
        assert_eq!(
            of("Query", r#"{"TableName":"t","IndexName":"i"}"#),
            [format!("dynamodb:Query {}/index/i", table("t"))]
        );
        assert_eq!(
            of("BatchGetItem", r#"{"RequestItems":{"a":{},"b":{}}}"#),
            [format!("dynamodb:BatchGetItem {}", table("a")), format!("dynamodb:BatchGetItem {}", table("b"))]
        );
        let parts = r#"{"TransactItems":[{"Put":{"TableName":"t"}},{"Update":{"TableName":"t"}},
            {"Put":{"TableName":"t"}},{"ConditionCheck":{"TableName":"u"}},{"Delete":{"TableName":"u"}}]}"#;
        let expected = [("PutItem", "t"), ("UpdateItem", "t"), ("ConditionCheckItem", "u"), ("DeleteItem", "u")];
        assert_eq!(
            of("TransactWriteItems", parts),
            expected.map(|(action, name)| format!("dynamodb:{action} {}", table(name)))
        );
        assert_eq!(of("ListTables", "{}"), ["dynamodb:ListTables *"]);
        assert_eq!(of("GetItem", r#"{"TableName":"arn:aws:x"}"#), ["dynamodb:GetItem arn:aws:x"]);
        assert!(of("GetItem", "not JSON").is_empty(), "the service refuses it");
    }

    #[test]
    fn a_batch_for_a_queue_needs_what_one_message_needs() {
        let of = |operation, queue| shown(&of_queue_call(operation, queue, &account()));
        let queue = "arn:aws:sqs:us-east-1:000000000000:q.fifo";
        assert_eq!(of("SendMessageBatch", "http://h/0/q.fifo"), [format!("sqs:SendMessage {queue}")]);
        assert_eq!(of("GetQueueUrl", "q.fifo"), [format!("sqs:GetQueueUrl {queue}")]);
        assert_eq!(of("ListQueues", ""), ["sqs:ListQueues *"]);
    }

    #[test]
    fn a_batch_for_a_topic_needs_what_one_message_needs() {
        let of = |operation, topic| shown(&of_topic_call(operation, topic));
        let topic = "arn:aws:sns:us-east-1:000000000000:t";
        assert_eq!(of("PublishBatch", topic), [format!("sns:Publish {topic}")]);
        assert_eq!(of("ListTopics", ""), ["sns:ListTopics *"]);
    }

    #[test]
    fn an_object_needs_the_action_that_s3_asks_for() {
        let of = |operation, source| shown(&of_object_call(operation, "b", "k/1", source));
        for (operation, action) in [
            ("HeadObject", "s3:GetObject arn:aws:s3:::b/k/1"),
            ("PostObject", "s3:PutObject arn:aws:s3:::b/k/1"),
            ("UploadPart", "s3:PutObject arn:aws:s3:::b/k/1"),
            ("DeleteObject", "s3:DeleteObject arn:aws:s3:::b/k/1"),
            ("AbortMultipartUpload", "s3:AbortMultipartUpload arn:aws:s3:::b/k/1"),
            ("ListParts", "s3:ListMultipartUploadParts arn:aws:s3:::b/k/1"),
            ("ListObjectsV2", "s3:ListBucket arn:aws:s3:::b"),
            ("ListMultipartUploads", "s3:ListBucketMultipartUploads arn:aws:s3:::b"),
            ("ListBuckets", "s3:ListAllMyBuckets *"),
            ("GetBucketLocation", "s3:GetBucketLocation arn:aws:s3:::b"),
        ] {
            assert_eq!(of(operation, None), [action], "{operation}");
        }
        let copy = ["s3:PutObject arn:aws:s3:::b/k/1", "s3:GetObject arn:aws:s3:::from/a/b"];
        assert_eq!(of("CopyObject", Some("from/a/b")), copy);
        assert!(of("DeleteObjects", None).is_empty());
    }
}
