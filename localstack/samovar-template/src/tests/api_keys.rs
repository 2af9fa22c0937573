//! API keys and their usage plans.

use std::collections::BTreeSet;

use super::*;

const KEY: &str =
    "  Key: {Type: AWS::ApiGateway::ApiKey, Properties: {Enabled: true, Value: secret-of-twenty-letters}}\n";
const PLAN: &str = "  Plan: {Type: AWS::ApiGateway::UsagePlan, Properties: {ApiStages: [{ApiId: api, Stage: prod}]}}\n";
const LINK: &str = "  Link: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: !Ref Key, KeyType: API_KEY, \
                    UsagePlanId: !Ref Plan}}\n";

#[test]
fn a_key_is_for_the_stages_of_its_usage_plans() {
    let second = PLAN.replace("Plan:", "Second:").replace("prod", "test");
    let link = LINK.replace("Link:", "Link2:").replace("!Ref Plan", "!Ref Second");
    let template = read(&with_resources(&[KEY, PLAN, LINK, &second, &link].concat()));
    let [key] = template.api_keys.as_slice() else { panic!("{:?}", template.api_keys) };
    let stage = |name: &str| ("api".to_owned(), name.to_owned());
    assert_eq!((key.logical_id.as_str(), key.value.as_str()), ("Key", "secret-of-twenty-letters"));
    assert_eq!(key.stages, BTreeSet::from([stage("prod"), stage("test")]));
    assert_eq!(read(&with_resources(KEY)).api_keys[0].stages, BTreeSet::new(), "without a plan it is for nothing");
}

#[test]
fn a_key_without_a_value_gets_one_and_one_that_is_not_enabled_is_not_taken() {
    let template = read(&with_resources(&KEY.replace(", Value: secret-of-twenty-letters", "")));
    assert_eq!(template.api_keys[0].value, "local-Key-api-key");
    let note = "Key has no Value, and AWS would make one at random: here it is local-Key-api-key";
    assert_eq!(template.notes[0].message, note);
    let template = read(&with_resources(&KEY.replace("Enabled: true, ", "")));
    assert!(template.api_keys.is_empty());
    assert_eq!(template.notes[0].message, "Key has no Enabled: true, so it is not taken");
}

#[test]
fn a_link_names_a_key_and_a_plan_of_the_template() {
    for (link, message) in [
        (LINK.replace("!Ref Key", "other"), "AWS::ApiGateway::UsagePlanKey.KeyId is \"other\", which is not one"),
        (LINK.replace("!Ref Plan", "other"), "AWS::ApiGateway::UsagePlanKey.UsagePlanId is \"other\", which is not"),
        (LINK.replace("API_KEY", "KEY"), "AWS::ApiGateway::UsagePlanKey.KeyType cannot be \"KEY\""),
    ] {
        assert_problems(&with_resources(&[KEY, PLAN, &link].concat()), &[(5, message)]);
    }
    let stage = PLAN.replace(", Stage: prod", "");
    assert_problems(&with_resources(&stage), &[(3, "A stage of ApiStages needs the property \"Stage\"")]);
}
