//! The policies of queues and buckets say exactly what they must.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Fault;

fn texts(value: &Value) -> BTreeSet<&str> {
    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    list.iter().filter_map(Value::as_str).collect()
}

/// Every queue and every bucket refuses calls without TLS, and the distribution of the page may read the bucket of the
/// page. There is no other statement.
pub(crate) fn check(whole: &Value) -> Result<(), Fault> {
    let resources = whole["Resources"].as_object().ok_or("There are no resources")?;
    let of = |kinds: [&'static str; 2]| {
        resources.iter().filter(move |(_, resource)| kinds.iter().any(|kind| resource["Type"] == *kind))
    };
    let name = |id: &str| {
        let own = ["QueueName", "BucketName"].map(|name| resources[id]["Properties"][name].as_str());
        own.into_iter().flatten().next().map_or(format!("local-{id}"), str::to_owned)
    };
    let mut unprotected: BTreeSet<&str> =
        of(["AWS::SQS::Queue", "AWS::S3::Bucket"]).map(|(id, _)| id.as_str()).collect();
    for (id, policy) in of(["AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy"]) {
        let properties = &policy["Properties"];
        let is_for = |one: &&&str| ["Queues", "Bucket"].iter().any(|of| texts(&properties[of]).contains(&*name(one)));
        let protected: BTreeSet<&str> = unprotected.iter().filter(is_for).copied().collect();
        unprotected.retain(|one| !protected.contains(one));
        let is_bucket = policy["Type"] == "AWS::S3::BucketPolicy";
        let ends = if is_bucket { &["", "/*"][..] } else { &[""] };
        let arns = |end: &&str| protected.iter().map(|one| format!("{one}.Arn{end}")).collect::<Vec<_>>();
        let mut expected = vec![json!({
            "Effect": "Deny", "Principal": "*", "Action": if is_bucket { "s3:*" } else { "sqs:*" },
            "Resource": ends.iter().flat_map(arns).collect::<BTreeSet<_>>(),
            "Condition": { "Bool": { "aws:SecureTransport": "false" } },
        })];
        if protected.contains("SiteBucket") {
            let distribution = "arn:aws:cloudfront::000000000000:distribution/local-Site";
            // Without the second one, S3 would answer "forbidden" for a missing file.
            for (action, resource) in [("s3:GetObject", "SiteBucket.Arn/*"), ("s3:ListBucket", "SiteBucket.Arn")] {
                expected.push(json!({
                    "Effect": "Allow", "Principal": { "Service": "cloudfront.amazonaws.com" }, "Action": action,
                    "Resource": [resource], "Condition": { "StringEquals": { "AWS:SourceArn": distribution } },
                }));
            }
        }
        let statements = properties["PolicyDocument"]["Statement"].as_array().ok_or("There are no statements")?;
        let found = statements.iter().map(|statement| {
            let mut found = statement.clone();
            found["Resource"] = json!(texts(&statement["Resource"]));
            found.as_object_mut().map(|members| members.remove("Sid"));
            found
        });
        let found: Vec<Value> = found.collect();
        if found != expected {
            return Err(format!("{id} says {found:#?}, and not {expected:#?}"));
        }
    }
    if unprotected.is_empty() { Ok(()) } else { Err(format!("{unprotected:?} take calls without TLS")) }
}
