//! `AWS::Serverless::SimpleTable`: a table with one key.

use serde_json::{Map, Value, json};

use super::Context;
use super::table::{check_name, throughput};
use crate::fields::Schema;
use crate::model::Table;
use crate::resource::{self, Resource};

pub(crate) const SIMPLE_TABLE: Schema = Schema {
    subject: resource::SIMPLE_TABLE,
    required: &[],
    optional: &["PrimaryKey", "ProvisionedThroughput", "TableName"],
    ignored: &["PointInTimeRecoverySpecification", "SSESpecification", "Tags"],
};

pub(crate) const PRIMARY_KEY: Schema =
    Schema { subject: "PrimaryKey", required: &["Type"], optional: &["Name"], ignored: &[] };

pub(super) fn build(context: &Context<'_>, resource: &Resource) -> Option<Table> {
    let fields = context.fields(resource, &SIMPLE_TABLE);
    let name = context.problems.keep(resource.name(context.scope))?;
    check_name(&fields, "TableName", &name);
    let primary = fields.map("PrimaryKey", &PRIMARY_KEY);
    let key = primary.as_ref().and_then(|key| key.text("Name")).unwrap_or_else(|| "id".to_owned());
    let kind = match primary.as_ref().and_then(|key| key.choice("Type", &["Binary", "Number", "String"])).as_deref() {
        Some("Binary") => "B",
        Some("Number") => "N",
        _ => "S",
    };
    let provisioned = fields.has("ProvisionedThroughput");
    let mut request = Map::new();
    request.insert("TableName".to_owned(), json!(name));
    request.insert("AttributeDefinitions".to_owned(), json!([{ "AttributeName": key, "AttributeType": kind }]));
    request.insert("KeySchema".to_owned(), json!([{ "AttributeName": key, "KeyType": "HASH" }]));
    request.insert("BillingMode".to_owned(), json!(if provisioned { "PROVISIONED" } else { "PAY_PER_REQUEST" }));
    request.extend(throughput(&fields, provisioned));
    Some(Table {
        logical_id: resource.id.clone(),
        arn: context.problems.keep(resource.attribute(context.scope, resource.line, "Arn"))?,
        stream_arn: context.problems.keep(resource.attribute(context.scope, resource.line, "StreamArn"))?,
        name,
        create_table: Value::Object(request),
        ttl_attribute: None,
    })
}
