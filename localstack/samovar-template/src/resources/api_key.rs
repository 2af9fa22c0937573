//! `AWS::ApiGateway::ApiKey`, and the usage plans that say for which stages a key is.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use crate::fields::{Fields, Schema};
use crate::model::ApiKey;
use crate::resource::Kind;

pub(crate) const API_KEY: Schema = Schema {
    subject: "AWS::ApiGateway::ApiKey",
    required: &[],
    optional: &["Enabled", "Value"],
    ignored: &["CustomerId", "Description", "GenerateDistinctId", "Name", "StageKeys", "Tags"],
};

pub(crate) const USAGE_PLAN: Schema = Schema {
    subject: "AWS::ApiGateway::UsagePlan",
    required: &[],
    optional: &["ApiStages"],
    ignored: &["Description", "Quota", "Tags", "Throttle", "UsagePlanName"],
};

pub(crate) const API_STAGE: Schema =
    Schema { subject: "A stage of ApiStages", required: &["ApiId", "Stage"], optional: &[], ignored: &["Throttle"] };

pub(crate) const USAGE_PLAN_KEY: Schema = Schema {
    subject: "AWS::ApiGateway::UsagePlanKey",
    required: &["KeyId", "KeyType", "UsagePlanId"],
    optional: &[],
    ignored: &[],
};

/// The keys that are enabled, with the stages of their usage plans.
pub(crate) fn api_keys(context: &Context<'_>) -> Vec<ApiKey> {
    let plans = plans(context);
    let mut stages: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for resource in context.scope.present(Kind::UsagePlanKey) {
        let fields = context.fields(resource, &USAGE_PLAN_KEY);
        fields.choice("KeyType", &["API_KEY"]);
        let named = |property: &str, kind: Kind| {
            let id = fields.text(property)?;
            let is_there = context.scope.present(kind).any(|resource| resource.id == id);
            if !is_there {
                fields.wrong(property, &format!("is \"{id}\", which is not one of this template: use !Ref"));
            }
            is_there.then_some(id)
        };
        let (key, plan) = (named("KeyId", Kind::ApiKey), named("UsagePlanId", Kind::UsagePlan));
        if let Some((key, plan)) = key.zip(plan) {
            stages.entry(key).or_default().extend(plans.get(&plan).cloned().unwrap_or_default());
        }
    }
    let mut keys = Vec::new();
    for resource in context.scope.present(Kind::ApiKey) {
        let fields = context.fields(resource, &API_KEY);
        let note = |message: String| context.problems.note(resource.line, message);
        if fields.boolean("Enabled") != Some(true) {
            note(format!("{} has no Enabled: true, so it is not taken", resource.id));
            continue;
        }
        let value = fields.text("Value").unwrap_or_else(|| {
            let value = format!("{}-{}-api-key", context.scope.locals.stack_name, resource.id);
            note(format!("{} has no Value, and AWS would make one at random: here it is {value}", resource.id));
            value
        });
        let stages = stages.remove(&resource.id).unwrap_or_default();
        keys.push(ApiKey { logical_id: resource.id.clone(), value, stages });
    }
    keys
}

/// The stages of the usage plans, by API and name, by the logical ids of the plans.
fn plans(context: &Context<'_>) -> BTreeMap<String, BTreeSet<(String, String)>> {
    let plans = context.scope.present(Kind::UsagePlan).map(|resource| {
        let fields = context.fields(resource, &USAGE_PLAN);
        let stages = fields.maps("ApiStages", &API_STAGE).unwrap_or_default();
        let stage = |stage: &Fields<'_>| stage.text("ApiId").zip(stage.text("Stage"));
        (resource.id.clone(), stages.iter().filter_map(stage).collect())
    });
    plans.collect()
}
