//! `FunctionUrlConfig` of a function, and `AWS::Lambda::Url`.

use super::Context;
use super::http_api;
use crate::fields::{Fields, Schema};
use crate::model::{Cors, FunctionUrl};
use crate::resource::{Kind, Resource};
use crate::yaml::{Data, Entry, Node};

pub(crate) const URL: Schema = Schema {
    subject: "AWS::Lambda::Url",
    required: &["AuthType", "TargetFunctionArn"],
    optional: &["Cors", "InvokeMode"],
    ignored: &["Qualifier"],
};

/// The URL that SAM generates for a function with `FunctionUrlConfig`.
pub(crate) fn generated(function: &Resource) -> Resource {
    let line = function.line;
    let mut properties = function.properties.get("FunctionUrlConfig").cloned();
    if let Some(Node { data: Data::Map(entries), .. }) = &mut properties {
        let value = Node {
            line,
            data: Data::Call("GetAtt".to_owned(), Node::text(line, format!("{}.Arn", function.id)).into()),
        };
        entries.push(Entry { line, key: "TargetFunctionArn".to_owned(), value });
    }
    Resource {
        id: format!("{}Url", function.id),
        line,
        kind: Kind::FunctionUrl,
        type_name: "AWS::Lambda::Url",
        properties: properties.unwrap_or(Node { line, data: Data::Null }),
        metadata: None,
        condition: function.condition.clone(),
    }
}

/// The URL of this function.
pub(super) fn of(context: &Context<'_>, function: &Resource) -> Option<FunctionUrl> {
    let mut found = None;
    for resource in context.scope.present(Kind::FunctionUrl) {
        if !matches!(resource.properties.data, Data::Map(_)) {
            context.problems.push(resource.properties.not("FunctionUrlConfig", "a map"));
            continue;
        }
        let fields = context.fields(resource, &URL);
        let Some(target) = fields.text("TargetFunctionArn") else { continue };
        match context.function(&target) {
            Some(named) if named.id == function.id => found = Some(build(resource, &fields)),
            Some(_) => {}
            None => context.missing_function(&fields, "TargetFunctionArn", &target),
        }
    }
    found
}

fn build(resource: &Resource, fields: &Fields<'_>) -> FunctionUrl {
    let mode = fields.choice("InvokeMode", &["BUFFERED", "RESPONSE_STREAM"]);
    FunctionUrl {
        id: resource.api_id(),
        iam_authorization: fields.choice("AuthType", &["AWS_IAM", "NONE"]).as_deref() == Some("AWS_IAM"),
        cors: fields.map("Cors", &http_api::CORS).map(|cors: Fields<'_>| -> Cors { http_api::cors_of(&cors) }),
        streaming: mode.as_deref() == Some("RESPONSE_STREAM"),
    }
}
