//! What a function's policies allow at the buckets, and how S3 refuses the rest.

use std::fmt::Debug;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use serde_json::{Value, json};

use super::{BUCKET, FUNCTION, OTHER, Served};
use crate::permissions::{Account, Permissions};

/// Allows these actions on these keys of the bucket; an empty key is the bucket itself.
async fn allowing(grants: &[(&str, &str)]) -> Served {
    let served = Served::new().await;
    for key in ["a/1", "b/1"] {
        served.put(key, b"here", "text/plain").await;
    }
    let statements = grants.iter().map(|(action, key)| {
        let resource = if key.is_empty() { BUCKET.to_owned() } else { format!("{BUCKET}/{key}") };
        json!({ "Effect": "Allow", "Action": action, "Resource": format!("arn:aws:s3:::{resource}") })
    });
    let policies = [json!({ "Statement": statements.collect::<Vec<Value>>() })];
    let account = Account { region: "us-east-1".to_owned(), id: "000000000000".to_owned() };
    let permissions = Permissions::of([(FUNCTION, &policies[..])].into_iter(), account);
    served.services.door().enforce(permissions);
    served
}

fn code<T: Debug, E: ProvideErrorMetadata + Debug, R: Debug>(result: Result<T, SdkError<E, R>>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.code().unwrap_or("?").to_owned(),
    }
}

#[tokio::test]
async fn an_object_can_be_read_and_written_where_a_policy_allows_it_and_nowhere_else() {
    let served = allowing(&[("s3:GetObject", "a/*"), ("s3:PutObject", "b/*")]).await;
    let s3 = served.client();
    let get = async |key: &str| code(s3.get_object().bucket(BUCKET).key(key).send().await);
    let put = async |key: &str| code(s3.put_object().bucket(BUCKET).key(key).send().await);
    assert_eq!((get("a/1").await, get("b/1").await), ("ok".into(), "AccessDenied".into()));
    assert_eq!((put("a/2").await, put("b/2").await), ("AccessDenied".into(), "ok".into()));
    let copy = async |bucket: &str, from: &str, to: &str| {
        code(s3.copy_object().bucket(BUCKET).copy_source(format!("{bucket}/{from}")).key(to).send().await)
    };
    assert_eq!(copy(BUCKET, "a/1", "b/3").await, "ok");
    for (bucket, from, to) in [(BUCKET, "b/1", "b/3"), (BUCKET, "a/1", "a/3"), (OTHER, "a/1", "b/3")] {
        assert_eq!(copy(bucket, from, to).await, "AccessDenied", "{bucket}/{from} {to}");
    }
    let list = s3.list_objects_v2().bucket(BUCKET).send().await;
    let message = list.expect_err("nothing allows it").message().unwrap_or_default().to_owned();
    let expected = "arn:aws:sts::000000000000:assumed-role/worker/worker is not authorized to perform: s3:ListBucket";
    assert!(message.contains(expected) && message.contains("arn:aws:s3:::local-media"), "{message}");
}

#[tokio::test]
async fn who_may_not_list_a_bucket_is_not_told_what_is_missing() {
    let one = [("s3:GetObject", "*")];
    let both = [("s3:GetObject", "*"), ("s3:ListBucket", "")];
    for (grants, expected) in [(&one[..], "AccessDenied"), (&both[..], "NoSuchKey")] {
        let served = allowing(grants).await;
        assert_eq!(code(served.client().get_object().bucket(BUCKET).key("nothing").send().await), expected);
        let head = served.client().head_object().bucket(BUCKET).key("nothing").send().await;
        let status = head.expect_err("there is nothing").raw_response().map(|response| response.status().as_u16());
        assert_eq!(status, Some(if expected == "NoSuchKey" { 404 } else { 403 }));
    }
}

#[tokio::test]
async fn of_many_keys_those_are_deleted_that_may_be() {
    let served = allowing(&[("s3:DeleteObject", "a/*")]).await;
    let keys = ["a/1", "b/1"].map(|key| ObjectIdentifier::builder().key(key).build().expect("a key"));
    let delete = Delete::builder().set_objects(Some(keys.to_vec())).build().expect("keys");
    let answer = served.client().delete_objects().bucket(BUCKET).delete(delete).send().await.expect("an answer");
    let deleted: Vec<_> = answer.deleted().iter().filter_map(|object| object.key()).collect();
    let refused: Vec<_> = answer.errors().iter().map(|error| (error.key(), error.code())).collect();
    assert_eq!(deleted, ["a/1"]);
    assert_eq!(refused, [(Some("b/1"), Some("AccessDenied"))]);
}
