//! `AWS::S3::Bucket`: its name, CORS rules and expirations.

use super::{Context, notification};
use crate::fields::{Fields, Schema};
use crate::model::{Bucket, CorsRule, Expiration};
use crate::resource::{Kind, Resource};

pub(crate) const BUCKET: Schema = Schema {
    subject: "AWS::S3::Bucket",
    required: &[],
    optional: &["BucketName", "CorsConfiguration", "LifecycleConfiguration", "NotificationConfiguration"],
    ignored: &[
        "AbacStatus",
        "AccelerateConfiguration",
        "AccessControl",
        "AnalyticsConfigurations",
        "BucketEncryption",
        "BucketNamePrefix",
        "BucketNamespace",
        "IntelligentTieringConfigurations",
        "InventoryConfigurations",
        "LoggingConfiguration",
        "MetadataConfiguration",
        "MetadataTableConfiguration",
        "MetricsConfigurations",
        "ObjectLockConfiguration",
        "ObjectLockEnabled",
        "OwnershipControls",
        "PublicAccessBlockConfiguration",
        "ReplicationConfiguration",
        "Tags",
        "VersioningConfiguration",
        "WebsiteConfiguration",
    ],
};

pub(crate) const CORS: Schema =
    Schema { subject: "CorsConfiguration", required: &["CorsRules"], optional: &[], ignored: &[] };

pub(crate) const CORS_RULE: Schema = Schema {
    subject: "A CORS rule",
    required: &["AllowedMethods", "AllowedOrigins"],
    optional: &["AllowedHeaders", "ExposedHeaders", "MaxAge"],
    ignored: &["Id"],
};

pub(crate) const LIFECYCLE: Schema = Schema {
    subject: "LifecycleConfiguration",
    required: &["Rules"],
    optional: &[],
    ignored: &["TransitionDefaultMinimumObjectSize"],
};

/// Properties that narrow a rule (`TagFilters` and the like) are not in the schema: skipping them would delete too
/// much.
pub(crate) const LIFECYCLE_RULE: Schema = Schema {
    subject: "A lifecycle rule",
    required: &["Status"],
    optional: &["AbortIncompleteMultipartUpload", "ExpirationInDays", "Prefix"],
    ignored: &[
        "ExpiredObjectDeleteMarker",
        "Id",
        "NoncurrentVersionExpiration",
        "NoncurrentVersionExpirationInDays",
        "NoncurrentVersionTransition",
        "NoncurrentVersionTransitions",
        "Transition",
        "Transitions",
    ],
};

pub(crate) const ABORT: Schema = Schema {
    subject: "AbortIncompleteMultipartUpload",
    required: &["DaysAfterInitiation"],
    optional: &[],
    ignored: &[],
};

const METHODS: [&str; 5] = ["DELETE", "GET", "HEAD", "POST", "PUT"];

pub(crate) fn buckets(context: &Context<'_>) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    for resource in context.scope.present(Kind::Bucket) {
        let Some(bucket) = build(context, resource) else { continue };
        if let Some(other) = buckets.iter().find(|other| other.name == bucket.name) {
            let message = format!("{} and {} have the same name, {}", other.logical_id, bucket.logical_id, bucket.name);
            context.problems.add(resource.line, message);
        }
        buckets.push(bucket);
    }
    buckets
}

fn build(context: &Context<'_>, resource: &Resource) -> Option<Bucket> {
    let fields = context.fields(resource, &BUCKET);
    let name = context.problems.keep(resource.name(context.scope))?;
    if let Some(rule) = broken_naming_rule(&name) {
        fields.wrong("BucketName", &format!("is \"{name}\", but {rule}"));
    }
    let cors = fields.map("CorsConfiguration", &CORS);
    let cors = cors.as_ref().and_then(|cors| cors.maps("CorsRules", &CORS_RULE)).unwrap_or_default();
    let lifecycle = fields.map("LifecycleConfiguration", &LIFECYCLE);
    let lifecycle = lifecycle.as_ref().and_then(|rules| rules.maps("Rules", &LIFECYCLE_RULE)).unwrap_or_default();
    Some(Bucket {
        logical_id: resource.id.clone(),
        name,
        cors: cors.iter().map(cors_rule).collect(),
        expirations: lifecycle.iter().filter_map(expiration).collect(),
        notifications: notification::read(context, &fields),
        event_bridge: notification::to_event_bridge(&fields),
    })
}

/// S3's rules for the names of general purpose buckets.
fn broken_naming_rule(name: &str) -> Option<&'static str> {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(3..=63).contains(&name.len()) || !name.chars().all(|c| alphanumeric(c) || matches!(c, '-' | '.')) {
        return Some("AWS takes 3 to 63 lower-case letters, digits, hyphens and dots");
    }
    if !(name.starts_with(alphanumeric) && name.ends_with(alphanumeric)) {
        return Some("a bucket's name begins and ends with a letter or digit");
    }
    if name.contains("..") || name.parse::<std::net::Ipv4Addr>().is_ok() {
        return Some("a bucket's name cannot have two dots in a row, or be an IP address");
    }
    let prefixes = ["xn--", "sthree-", "amzn-s3-demo-"];
    let suffixes = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
    let reserved =
        prefixes.iter().any(|prefix| name.starts_with(prefix)) || suffixes.iter().any(|suffix| name.ends_with(suffix));
    reserved.then_some("AWS keeps this beginning or end for itself")
}

fn cors_rule(fields: &Fields<'_>) -> CorsRule {
    let texts = |name| fields.texts(name).unwrap_or_default();
    for name in ["AllowedOrigins", "AllowedHeaders"] {
        if let Some(value) = texts(name).iter().find(|value| value.matches('*').count() > 1) {
            fields.wrong(name, &format!("has \"{value}\", but AWS takes one * at most"));
        }
    }
    if let Some(method) = texts("AllowedMethods").iter().find(|method| !METHODS.contains(&method.as_str())) {
        fields.wrong("AllowedMethods", &format!("has \"{method}\", but AWS takes {}", METHODS.join(", ")));
    }
    if let Some(header) = texts("ExposedHeaders").iter().find(|header| header.contains('*')) {
        fields.wrong("ExposedHeaders", &format!("has \"{header}\", but AWS takes no * here"));
    }
    CorsRule {
        allowed_origins: texts("AllowedOrigins"),
        allowed_methods: texts("AllowedMethods"),
        allowed_headers: texts("AllowedHeaders"),
        exposed_headers: texts("ExposedHeaders"),
        max_age_seconds: fields.integer("MaxAge", 0..=u32::MAX),
    }
}

fn expiration(fields: &Fields<'_>) -> Option<Expiration> {
    let actions = LIFECYCLE_RULE.optional.iter().chain(LIFECYCLE_RULE.ignored);
    if !actions.filter(|name| !["Id", "Prefix"].contains(*name)).any(|name| fields.has(name)) {
        fields.wrong("Status", "is the rule's only property: add an action, such as ExpirationInDays");
    }
    if let Some(abort) = fields.map("AbortIncompleteMultipartUpload", &ABORT) {
        // Only checked. The local S3 loses the parts of unfinished uploads when it ends.
        abort.integer("DaysAfterInitiation", 1..=u32::MAX);
    }
    let prefix = fields.text("Prefix").unwrap_or_default();
    let days = fields.integer("ExpirationInDays", 1..=u32::MAX)?;
    let enabled = fields.choice("Status", &["Disabled", "Enabled"])? == "Enabled";
    enabled.then_some(Expiration { prefix, days })
}
