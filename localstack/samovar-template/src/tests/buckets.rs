//! Buckets: names, references, CORS rules, lifecycle rules.

use super::*;
use crate::{Bucket, CorsRule, Expiration, Notification, Target};

/// A template with one bucket, on line 3.
fn bucket(properties: &str) -> String {
    with_resources(&format!("  Media: {{Type: AWS::S3::Bucket, Properties: {{{properties}}}}}\n"))
}

fn read_bucket(properties: &str) -> Bucket {
    read(&bucket(properties)).buckets.remove(0)
}

#[test]
fn a_bucket_is_named_by_stack_and_logical_id_in_lower_case() {
    assert_eq!(read_bucket("").name, "local-media");
    assert_eq!(read_bucket("BucketName: !Sub 'media-${AWS::AccountId}'").name, "media-000000000000");
}

#[test]
fn references_to_a_bucket_give_what_aws_gives() {
    let variables = "NAME: !Ref Media, ARN: !GetAtt Media.Arn, OBJECTS: !Sub '${Media.Arn}/*', \
                     DOMAIN: !GetAtt Media.DomainName, REGIONAL: !GetAtt Media.RegionalDomainName";
    let function = function("F", &format!("Environment: {{Variables: {{{variables}}}}}"));
    let source = format!("{}{function}", bucket(""));
    let expected = [
        ("NAME", "local-media"),
        ("ARN", "arn:aws:s3:::local-media"),
        ("OBJECTS", "arn:aws:s3:::local-media/*"),
        ("DOMAIN", "local-media.s3.amazonaws.com"),
        ("REGIONAL", "local-media.s3.eu-central-1.amazonaws.com"),
    ];
    assert_eq!(read(&source).functions[0].environment, overrides(&expected));
    let unknown = source.replace("Media.DomainName", "Media.WebsiteUrl");
    let message = "AWS::S3::Bucket does not have the attribute \"WebsiteUrl\"";
    assert_problems(&unknown, &[(4, message)]);
}

#[test]
fn cors_rules_keep_their_order_and_all_their_properties() {
    let rule = "{Id: one, AllowedOrigins: ['https://*.example'], AllowedMethods: [GET, PUT], AllowedHeaders: ['*'], \
                ExposedHeaders: [ETag], MaxAge: 600}";
    let bucket = read_bucket(&format!(
        "CorsConfiguration: {{CorsRules: [{rule}, {{AllowedOrigins: ['*'], AllowedMethods: [POST]}}]}}"
    ));
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let first = CorsRule {
        allowed_origins: texts(&["https://*.example"]),
        allowed_methods: texts(&["GET", "PUT"]),
        allowed_headers: texts(&["*"]),
        exposed_headers: texts(&["ETag"]),
        max_age_seconds: Some(600),
    };
    let second = CorsRule { allowed_origins: texts(&["*"]), allowed_methods: texts(&["POST"]), ..CorsRule::default() };
    assert_eq!(bucket.cors, [first, second]);
}

#[test]
fn lifecycle_rules_that_are_enabled_expire_objects() {
    let rules = "{Status: Enabled, Prefix: up/, ExpirationInDays: 1, \
                 AbortIncompleteMultipartUpload: {DaysAfterInitiation: 1}}, \
                 {Status: Enabled, ExpirationInDays: 30}, {Status: Disabled, ExpirationInDays: 2}, \
                 {Status: Enabled, AbortIncompleteMultipartUpload: {DaysAfterInitiation: 1}}, \
                 {Status: Enabled, Transitions: [{StorageClass: GLACIER, TransitionInDays: 1}]}";
    let bucket = read_bucket(&format!("LifecycleConfiguration: {{Rules: [{rules}]}}"));
    let expected = [Expiration { prefix: "up/".to_owned(), days: 1 }, Expiration { prefix: String::new(), days: 30 }];
    assert_eq!(bucket.expirations, expected);
}

#[test]
fn a_bucket_that_aws_would_refuse_is_an_error() {
    let cors = |rule: &str| format!("CorsConfiguration: {{CorsRules: [{{{rule}}}]}}");
    let lifecycle = |rule: &str| format!("LifecycleConfiguration: {{Rules: [{{{rule}}}]}}");
    for (properties, message) in [
        ("BucketName: Media".to_owned(), "AWS::S3::Bucket.BucketName is \"Media\", but AWS takes 3 to 63 lower-case"),
        ("BucketName: a_b".to_owned(), "AWS::S3::Bucket.BucketName is \"a_b\", but AWS takes"),
        ("BucketName: ab".to_owned(), "AWS::S3::Bucket.BucketName is \"ab\", but AWS takes"),
        ("BucketName: abc-".to_owned(), "AWS::S3::Bucket.BucketName is \"abc-\", but a bucket's name begins and ends"),
        ("BucketName: a..b".to_owned(), "AWS::S3::Bucket.BucketName is \"a..b\", but a bucket's name cannot have"),
        ("BucketName: 10.0.0.1".to_owned(), "AWS::S3::Bucket.BucketName is \"10.0.0.1\", but a bucket's name cannot"),
        ("BucketName: xn--a".to_owned(), "AWS::S3::Bucket.BucketName is \"xn--a\", but AWS keeps"),
        ("BucketName: a-s3alias".to_owned(), "AWS::S3::Bucket.BucketName is \"a-s3alias\", but AWS keeps"),
        ("Notifications: {}".to_owned(), "AWS::S3::Bucket does not have the property \"Notifications\""),
        (cors("AllowedMethods: [GET]"), "A CORS rule needs the property \"AllowedOrigins\""),
        (
            cors("AllowedMethods: [PATCH], AllowedOrigins: ['*']"),
            "A CORS rule.AllowedMethods has \"PATCH\", but AWS takes DELETE, GET, HEAD, POST, PUT",
        ),
        (
            cors("AllowedMethods: [GET], AllowedOrigins: ['*.a.*']"),
            "A CORS rule.AllowedOrigins has \"*.a.*\", but AWS takes one * at most",
        ),
        (
            cors("AllowedMethods: [GET], AllowedOrigins: ['*'], ExposedHeaders: ['x-*']"),
            "A CORS rule.ExposedHeaders has \"x-*\", but AWS takes no * here",
        ),
        (
            cors("AllowedMethods: [GET], AllowedOrigins: ['*'], ExposeHeaders: [ETag]"),
            "A CORS rule does not have the property \"ExposeHeaders\": did you mean \"ExposedHeaders\"?",
        ),
        (lifecycle("ExpirationInDays: 1"), "A lifecycle rule needs the property \"Status\""),
        (lifecycle("Status: Enabled, Prefix: a"), "A lifecycle rule.Status is the rule's only property: add an action"),
        (
            lifecycle("Status: Enabled, ExpirationInDays: 0"),
            "A lifecycle rule.ExpirationInDays is 0, but AWS takes 1 to",
        ),
        (lifecycle("Status: Always, ExpirationInDays: 1"), "A lifecycle rule.Status cannot be \"Always\""),
        (
            lifecycle("Status: Enabled, ExpirationInDays: 1, Filter: {Prefix: a}"),
            "A lifecycle rule does not have the property \"Filter\"",
        ),
        (
            lifecycle("Status: Enabled, ExpirationInDays: 1, TagFilters: []"),
            "A lifecycle rule does not have the property \"TagFilters\"",
        ),
    ] {
        assert_problems(&bucket(&properties), &[(3, message)]);
    }
    let twice = format!("{}  Other: {{Type: AWS::S3::Bucket, Properties: {{BucketName: local-media}}}}\n", bucket(""));
    assert_problems(&twice, &[(4, "Media and Other have the same name, local-media")]);
}

#[test]
fn a_bucket_policy_is_accepted_and_has_no_local_effect() {
    let policy = "  P: {Type: AWS::S3::BucketPolicy, Properties: {Bucket: !Ref Media, PolicyDocument: {}}}\n";
    assert_eq!(read(&format!("{}{policy}", bucket(""))).buckets.len(), 1);
}

#[test]
fn a_bucket_notifies_queues_and_topics() {
    let more = "  Q: {Type: AWS::SQS::Queue}\n  T: {Type: AWS::SNS::Topic}\n";
    let notifications = |more_of_queue: &str, queue: &str| {
        format!(
            "{}{more}",
            bucket(&format!(
                "NotificationConfiguration: {{QueueConfigurations: [{{Event: 's3:ObjectCreated:*', Queue: {queue}, \
                 {more_of_queue}}}], TopicConfigurations: [{{Event: 's3:ObjectRemoved:Delete', Topic: !Ref T}}]}}"
            ))
        )
    };
    let filter = "Filter: {S3Key: {Rules: [{Name: prefix, Value: in/}, {Name: suffix, Value: .txt}]}}";
    let found = read(&notifications(filter, "!GetAtt Q.Arn")).buckets.remove(0).notifications;
    let topic = "arn:aws:sns:eu-central-1:000000000000:local-T".to_owned();
    let of = |target, event: &str, prefix: &str, suffix: &str| Notification {
        target,
        event: event.to_owned(),
        prefix: prefix.to_owned(),
        suffix: suffix.to_owned(),
    };
    let expected = [
        of(Target::Queue("local-Q".to_owned()), "s3:ObjectCreated:*", "in/", ".txt"),
        of(Target::Topic(topic), "s3:ObjectRemoved:Delete", "", ""),
    ];
    assert_eq!(found, expected);
    let message = "\"arn:other\" is not a queue, topic or function of this template: events do not go there \
                   (--allow-missing leaves them out)";
    assert_problems(&notifications(filter, "'arn:other'"), &[(3, message)]);
    let message = "A rule of S3Key.Name is \"infix\", but AWS takes prefix and suffix";
    assert_problems(&notifications(&filter.replace("prefix", "infix"), "!GetAtt Q.Arn"), &[(3, message)]);
}
