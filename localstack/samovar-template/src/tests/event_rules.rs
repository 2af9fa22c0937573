//! EventBridge: buses, rules as CloudFormation and as SAM write them, and what is wrong with them.

use std::collections::BTreeMap;

use samovar_eventbridge::{Input, Path, Pattern, Schedule, Transformer};

use super::*;
use crate::{EventRule, Target};

const FUNCTION: &str = "  F: {Type: AWS::Serverless::Function, Properties: {Handler: a, Runtime: python3.13, \
                        InlineCode: x, Events: {E: EVENT}}}\n";
const BUS: &str = "  B: {Type: AWS::Events::EventBus, Properties: {Name: orders}}\n";

fn resources(event: &str, more: &str) -> String {
    with_resources(&(FUNCTION.replace("EVENT", event) + BUS + more))
}

const NO_EVENT: &str = "{Type: Schedule, Properties: {Schedule: rate(1 day)}}";

fn pattern(text: &str) -> Option<Pattern> {
    Some(Pattern::parse(text).expect("a pattern"))
}

#[test]
fn an_event_of_sam_is_a_rule_for_its_function() {
    for kind in ["EventBridgeRule", "CloudWatchEvent"] {
        let event = format!(
            "{{Type: {kind}, Properties: {{EventBusName: !Ref B, Pattern: {{source: [shop], detail: {{n: [1]}}}}, \
             InputPath: $.detail, State: DISABLED}}}}"
        );
        let template = read(&resources(&event, ""));
        let expected = EventRule {
            logical_id: "FE".to_owned(),
            name: "local-FE".to_owned(),
            arn: "arn:aws:events:eu-central-1:000000000000:rule/orders/local-FE".to_owned(),
            bus: "orders".to_owned(),
            pattern: pattern(r#"{"source":["shop"],"detail":{"n":[1]}}"#),
            schedule: None,
            enabled: false,
            targets: vec![crate::RuleTarget {
                id: "Target".to_owned(),
                target: Target::Function("local-F".to_owned()),
                input: Input::Part(Path::parse("$.detail").expect("a path")),
            }],
        };
        assert_eq!(template.functions[0].rules, [expected]);
        assert_eq!(template.event_buses[0].name, "orders");
        assert_eq!(template.event_buses[0].arn, "arn:aws:events:eu-central-1:000000000000:event-bus/orders");
    }
}

#[test]
fn a_rule_has_targets_with_inputs_a_pattern_or_a_schedule() {
    let rules = "  Q: {Type: AWS::SQS::Queue}\n  R: {Type: AWS::Events::Rule, Properties: {EventBusName: \
                 !GetAtt B.Arn, EventPattern: '{\"source\":[\"shop\"]}', \
                 Targets: [{Id: one, Arn: !GetAtt F.Arn, Input: '{}'}, {Id: two, Arn: !GetAtt Q.Arn, \
                 InputTransformer: {InputPathsMap: {n: $.detail.n}, InputTemplate: '{\"n\": \
                 <n>}'}}]}}\n  S: {Type: AWS::Events::Rule, Properties: {Name: daily, ScheduleExpression: cron(0 9 * * \
                 ? *)}}\n";
    let outputs = "Outputs: {R: {Value: !Ref R}, A: {Value: !GetAtt S.Arn}, S: {Value: !Ref S}}\n";
    let template = read(&(resources(NO_EVENT, rules) + outputs));
    let [rule, daily] = template.event_rules.as_slice() else { panic!("{:?}", template.event_rules) };
    assert_eq!((rule.bus.as_str(), &rule.pattern), ("orders", &pattern(r#"{"source":["shop"]}"#)));
    let paths = BTreeMap::from([("n".to_owned(), "$.detail.n".to_owned())]);
    let transformer = Transformer::new(&paths, r#"{"n": <n>}"#).expect("a transformer");
    let inputs: Vec<_> = rule.targets.iter().map(|target| (&target.target, &target.input)).collect();
    let (function, queue) = (Target::Function("local-F".to_owned()), Target::Queue("local-Q".to_owned()));
    let (constant, transformed) = (Input::Constant("{}".to_owned()), Input::Transformer(transformer));
    assert_eq!(inputs, [(&function, &constant), (&queue, &transformed)]);
    assert_eq!(daily.schedule, Some(Schedule::parse("cron(0 9 * * ? *)").expect("a schedule")));
    assert_eq!((daily.bus.as_str(), daily.enabled, daily.pattern.is_none()), ("default", true, true));
    assert_eq!(template.outputs["R"], "orders|local-R");
    assert_eq!(template.outputs["S"], "daily");
    assert_eq!(template.outputs["A"], "arn:aws:events:eu-central-1:000000000000:rule/daily");
}

#[test]
fn a_rule_that_cannot_be_deployed_is_an_error_with_its_line() {
    let rule = |properties: &str| {
        let targets = format!("  R: {{Type: AWS::Events::Rule, Properties: {{{properties}}}}}\n");
        resources(NO_EVENT, &targets)
    };
    let target = |more: &str| format!("EventPattern: {{a: [1]}}, Targets: [{{Id: t, Arn: !GetAtt F.Arn, {more}}}]");
    for (properties, message) in [
        (
            "EventPattern: {a: x}".to_owned(),
            "AWS::Events::Rule.EventPattern is no event pattern. a: \"x\" must be in a list: [\"x\"]",
        ),
        ("EventPattern: x".to_owned(), "AWS::Events::Rule.EventPattern is no event pattern. It is not JSON: "),
        (
            "Targets: []".to_owned(),
            "AWS::Events::Rule.EventPattern is missing: a rule needs EventPattern or ScheduleExpression",
        ),
        (
            "ScheduleExpression: at(2030-01-01T00:00:00)".replace("at(", "'at(") + "'",
            "AWS::Events::Rule.ScheduleExpression is \"at(2030-01-01T00:00:00)\": a rule has no at(…)",
        ),
        (
            "ScheduleExpression: daily".to_owned(),
            "AWS::Events::Rule.ScheduleExpression is \"daily\": schedules are rate(1 minute), ",
        ),
        (target("Input: '{}', InputPath: $"), "A target of a rule.InputPath cannot stand beside Input: remove one"),
        (target("Input: x"), "A target of a rule.Input must be JSON"),
        (target("InputPath: x"), "A target of a rule.InputPath \"x\" is not a path such as $.detail.state"),
        (
            target("InputTransformer: {InputTemplate: '<n>'}"),
            "InputTransformer.InputTemplate <n> is not in InputPathsMap",
        ),
        (
            "EventPattern: {a: [1]}, Targets: [{Id: t, Arn: 'arn:x'}]".to_owned(),
            "\"arn:x\" is not a queue, topic or function of this template: events do not go there",
        ),
        (
            "EventPattern: {a: [1]}, EventBusName: other".to_owned(),
            "The event bus \"other\" is not in this template: its events do not come here",
        ),
    ] {
        assert_problems(&rule(&properties), &[(5, message)]);
    }
    let event = "{Type: EventBridgeRule, Properties: {Input: '{}'}}";
    let message = "An event of the type EventBridgeRule or CloudWatchEvent needs the property \"Pattern\"";
    assert_problems(&resources(event, ""), &[(3, message)]);
}
