//! `AWS::DynamoDB::Table`: the `CreateTable` request.

use serde_json::{Map, Value, json};

use super::table_keys::{Attributes, Keys};
use super::{Context, simple_table};
use crate::fields::{Fields, Schema};
use crate::model::Table;
use crate::resource::{Kind, Resource, SIMPLE_TABLE};

pub(crate) const TABLE: Schema = Schema {
    subject: "AWS::DynamoDB::Table",
    required: &["AttributeDefinitions", "KeySchema"],
    optional: &[
        "BillingMode",
        "GlobalSecondaryIndexes",
        "LocalSecondaryIndexes",
        "ProvisionedThroughput",
        "StreamSpecification",
        "TableName",
        "TimeToLiveSpecification",
    ],
    ignored: &[
        "ContributorInsightsSpecification",
        "DeletionProtectionEnabled",
        "ImportSourceSpecification",
        "KinesisStreamSpecification",
        "OnDemandThroughput",
        "PointInTimeRecoverySpecification",
        "ResourcePolicy",
        "SSESpecification",
        "TableClass",
        "Tags",
        "WarmThroughput",
    ],
};

pub(crate) const INDEX: Schema = Schema {
    subject: "An index",
    required: &["IndexName", "KeySchema", "Projection"],
    optional: &["ProvisionedThroughput"],
    ignored: &["ContributorInsightsSpecification", "OnDemandThroughput", "WarmThroughput"],
};

pub(crate) const THROUGHPUT: Schema = Schema {
    subject: "ProvisionedThroughput",
    required: &["ReadCapacityUnits", "WriteCapacityUnits"],
    optional: &[],
    ignored: &[],
};

pub(crate) const TIME_TO_LIVE: Schema =
    Schema { subject: "TimeToLiveSpecification", required: &["Enabled"], optional: &["AttributeName"], ignored: &[] };

pub(crate) const STREAM: Schema = Schema {
    subject: "StreamSpecification",
    required: &["StreamViewType"],
    optional: &[],
    ignored: &["ResourcePolicy"],
};

const STREAM_VIEWS: [&str; 4] = ["KEYS_ONLY", "NEW_AND_OLD_IMAGES", "NEW_IMAGE", "OLD_IMAGE"];

pub(crate) const PROJECTION: Schema =
    Schema { subject: "Projection", required: &["ProjectionType"], optional: &["NonKeyAttributes"], ignored: &[] };

pub(crate) fn tables(context: &Context<'_>) -> Vec<Table> {
    let tables = context.scope.present(Kind::Table).filter_map(|resource| match resource.type_name {
        SIMPLE_TABLE => simple_table::build(context, resource),
        _ => build(context, resource),
    });
    tables.collect()
}

fn build(context: &Context<'_>, resource: &Resource) -> Option<Table> {
    let fields = context.fields(resource, &TABLE);
    let name = context.problems.keep(resource.name(context.scope))?;
    check_name(&fields, "TableName", &name);
    let attributes = Attributes::read(&fields);
    let keys = Keys::read(&fields, &attributes);
    let provisioned =
        fields.choice("BillingMode", &["PAY_PER_REQUEST", "PROVISIONED"]).as_deref() != Some("PAY_PER_REQUEST");
    let mut request = Map::new();
    request.insert("TableName".to_owned(), json!(name));
    request.insert("AttributeDefinitions".to_owned(), attributes.to_json());
    request.insert("KeySchema".to_owned(), keys.to_json());
    request.insert("BillingMode".to_owned(), json!(if provisioned { "PROVISIONED" } else { "PAY_PER_REQUEST" }));
    request.extend(throughput(&fields, provisioned));
    if let Some(stream) = fields.map("StreamSpecification", &STREAM)
        && let Some(view) = stream.choice("StreamViewType", &STREAM_VIEWS)
    {
        let specification = json!({ "StreamEnabled": true, "StreamViewType": view });
        request.insert("StreamSpecification".to_owned(), specification);
    }
    let mut names = Vec::new();
    for (property, local, most) in [("LocalSecondaryIndexes", true, 5), ("GlobalSecondaryIndexes", false, 20)] {
        let Some(indexes) = fields.maps(property, &INDEX) else { continue };
        if indexes.is_empty() || indexes.len() > most {
            fields.wrong(property, &format!("has {} indexes, but AWS takes 1 to {most}", indexes.len()));
        }
        let indexes: Vec<Value> = indexes
            .iter()
            .filter_map(|index| {
                let keys = Keys::read(index, &attributes).check_index(index, local.then_some(&keys));
                index_request(index, &keys, !local && provisioned, &mut names)
            })
            .collect();
        request.insert(property.to_owned(), json!(indexes));
    }
    attributes.check_used(&fields);
    Some(Table {
        logical_id: resource.id.clone(),
        arn: context.problems.keep(resource.attribute(context.scope, resource.line, "Arn"))?,
        stream_arn: context.problems.keep(resource.attribute(context.scope, resource.line, "StreamArn"))?,
        name,
        create_table: Value::Object(request),
        ttl_attribute: time_to_live(&fields),
    })
}

fn index_request(fields: &Fields<'_>, keys: &Keys, provisioned: bool, names: &mut Vec<String>) -> Option<Value> {
    let name = fields.text("IndexName")?;
    check_name(fields, "IndexName", &name);
    if names.contains(&name) {
        fields.wrong("IndexName", &format!("is \"{name}\", which another index of the table has too"));
    }
    names.push(name.clone());
    let projection = fields.map("Projection", &PROJECTION)?;
    let kind = projection.choice("ProjectionType", &["ALL", "INCLUDE", "KEYS_ONLY"])?;
    if (kind == "INCLUDE") != projection.has("NonKeyAttributes") {
        projection
            .wrong("NonKeyAttributes", "is required with the ProjectionType INCLUDE and not allowed with another");
    }
    let mut projected = json!({ "ProjectionType": kind });
    if let Some(attributes) = projection.texts("NonKeyAttributes") {
        projected["NonKeyAttributes"] = json!(attributes);
    }
    let mut request = Map::new();
    request.insert("IndexName".to_owned(), json!(name));
    request.insert("KeySchema".to_owned(), keys.to_json());
    request.insert("Projection".to_owned(), projected);
    request.extend(throughput(fields, provisioned));
    Some(Value::Object(request))
}

pub(super) fn throughput(fields: &Fields<'_>, provisioned: bool) -> Option<(String, Value)> {
    if provisioned != fields.has("ProvisionedThroughput") {
        let message = match provisioned {
            true => "is missing: give it, or use the BillingMode PAY_PER_REQUEST",
            false => "is not allowed with the BillingMode PAY_PER_REQUEST or on a local index: remove it",
        };
        fields.wrong("ProvisionedThroughput", message);
    }
    let throughput = fields.map("ProvisionedThroughput", &THROUGHPUT)?;
    let units = |name| throughput.integer(name, 1..=u32::MAX);
    let value =
        json!({ "ReadCapacityUnits": units("ReadCapacityUnits")?, "WriteCapacityUnits": units("WriteCapacityUnits")? });
    Some(("ProvisionedThroughput".to_owned(), value))
}

fn time_to_live(fields: &Fields<'_>) -> Option<String> {
    let specification = fields.map("TimeToLiveSpecification", &TIME_TO_LIVE)?;
    let attribute = specification.text("AttributeName");
    if !specification.boolean("Enabled")? {
        return None;
    }
    if !specification.has("AttributeName") {
        specification.wrong("Enabled", "is true, which needs AttributeName");
    }
    attribute
}

pub(super) fn check_name(fields: &Fields<'_>, property: &str, name: &str) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !(3..=255).contains(&name.len()) || !name.chars().all(allowed) {
        let message = "but AWS takes 3 to 255 letters, digits, hyphens, underscores and dots";
        fields.wrong(property, &format!("is \"{name}\", {message}"));
    }
}
