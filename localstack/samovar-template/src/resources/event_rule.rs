//! EventBridge: `AWS::Events::EventBus`, `AWS::Events::Rule`, and a function's `Events` of the types EventBridgeRule
//! and CloudWatchEvent, which SAM makes into rules.

use std::collections::BTreeMap;

use samovar_eventbridge::{Input, Path, Pattern, Schedule, Transformer};

use super::event::Event;
use super::{Context, target};
use crate::fields::{Fields, Schema};
use crate::model::{EventBus, EventRule, RuleTarget, Target};
use crate::resource::{Kind, Resource};
use crate::yaml::{Data, Node};

pub(crate) const EVENT_BUS: Schema = Schema {
    subject: "AWS::Events::EventBus",
    required: &["Name"],
    optional: &[],
    ignored: &["DeadLetterConfig", "Description", "EventSourceName", "KmsKeyIdentifier", "LogConfig", "Policy", "Tags"],
};

pub(crate) const RULE: Schema = Schema {
    subject: "AWS::Events::Rule",
    required: &[],
    optional: &["EventBusName", "EventPattern", "Name", "ScheduleExpression", "State", "Targets"],
    ignored: &["Description", "RoleArn", "Tags"],
};

pub(crate) const TARGET: Schema = Schema {
    subject: "A target of a rule",
    required: &["Arn", "Id"],
    optional: &["Input", "InputPath", "InputTransformer"],
    ignored: &["DeadLetterConfig", "RetryPolicy", "RoleArn", "SqsParameters"],
};

pub(crate) const RULE_EVENT: Schema = Schema {
    subject: "An event of the type EventBridgeRule or CloudWatchEvent",
    required: &["Pattern"],
    optional: &["Enabled", "EventBusName", "Input", "InputPath", "InputTransformer", "RuleName", "State"],
    ignored: &["DeadLetterConfig", "RetryPolicy", "Target"],
};

pub(crate) const TRANSFORMER: Schema =
    Schema { subject: "InputTransformer", required: &["InputTemplate"], optional: &["InputPathsMap"], ignored: &[] };

/// The bus that every account has.
pub(crate) const DEFAULT_BUS: &str = "default";

pub(crate) fn event_buses(context: &Context<'_>) -> Vec<EventBus> {
    let bus = |resource: &Resource| {
        context.fields(resource, &EVENT_BUS);
        Some(EventBus {
            logical_id: resource.id.clone(),
            name: context.problems.keep(resource.name(context.scope))?,
            arn: context.problems.keep(resource.attribute(context.scope, resource.line, "Arn"))?,
        })
    };
    context.scope.present(Kind::EventBus).filter_map(bus).collect()
}

pub(crate) fn event_rules(context: &Context<'_>) -> Vec<EventRule> {
    context.scope.present(Kind::EventRule).filter_map(|resource| rule(context, resource)).collect()
}

fn rule(context: &Context<'_>, resource: &Resource) -> Option<EventRule> {
    let fields = context.fields(resource, &RULE);
    let pattern = pattern(&fields, "EventPattern");
    let schedule = schedule(&fields);
    if !fields.has("EventPattern") && !fields.has("ScheduleExpression") {
        fields.wrong("EventPattern", "is missing: a rule needs EventPattern or ScheduleExpression");
    }
    let targets = fields.maps("Targets", &TARGET).unwrap_or_default();
    let targets = targets.iter().filter_map(|target| {
        let (id, arn) = (target.text("Id"), target.text("Arn"));
        let input = input(target);
        let to = target::of_arn(context, target.line("Arn"), &arn?)?;
        Some(RuleTarget { id: id?, target: to, input: input? })
    });
    Some(EventRule {
        targets: targets.collect(),
        logical_id: resource.id.clone(),
        name: context.problems.keep(resource.name(context.scope))?,
        arn: context.problems.keep(resource.attribute(context.scope, resource.line, "Arn"))?,
        bus: bus(context, &fields)?,
        pattern,
        schedule,
        enabled: fields.choice("State", &STATES).as_deref() != Some("DISABLED"),
    })
}

const STATES: [&str; 3] = ["DISABLED", "ENABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"];

/// The rule that SAM makes of a function's event.
pub(super) fn of_event(event: &Event<'_>, context: &Context<'_>) -> Option<EventRule> {
    let fields = Fields::new(&RULE_EVENT, event.properties, context.problems);
    let (pattern, input, bus) = (pattern(&fields, "Pattern"), input(&fields), bus(context, &fields)?);
    let state = fields.choice("State", &STATES);
    let enabled = fields.boolean("Enabled").unwrap_or(true) && state.as_deref() != Some("DISABLED");
    let locals = context.scope.locals;
    let logical_id = event.logical_id();
    let name = fields.text("RuleName").unwrap_or_else(|| format!("{}-{logical_id}", locals.stack_name));
    let target = Target::Function(context.problems.keep(event.function.name(context.scope))?);
    Some(EventRule {
        arn: rule_arn(&locals.region, &locals.account_id, &bus, &name),
        logical_id,
        name,
        bus,
        pattern: Some(pattern?),
        schedule: None,
        enabled,
        targets: vec![RuleTarget { id: "Target".to_owned(), target, input: input? }],
    })
}

/// The ARN of a rule. Only that of a rule of the default bus does not name its bus.
pub(crate) fn rule_arn(region: &str, account_id: &str, bus: &str, name: &str) -> String {
    let bus = if bus == DEFAULT_BUS { String::new() } else { format!("{bus}/") };
    format!("arn:aws:events:{region}:{account_id}:rule/{bus}{name}")
}

/// The name of the bus that `EventBusName` names, or its ARN. Nothing is put on a bus that is not in the template.
fn bus(context: &Context<'_>, fields: &Fields<'_>) -> Option<String> {
    let Some(named) = fields.text("EventBusName") else { return Some(DEFAULT_BUS.to_owned()) };
    let name = named.rsplit_once(":event-bus/").map_or(named.as_str(), |(_, name)| name);
    let declared = || context.scope.present(Kind::EventBus).any(|bus| bus.name(context.scope).as_deref() == Ok(name));
    if name != DEFAULT_BUS && !declared() {
        let message = format!("The event bus \"{named}\" is not in this template: its events do not come here");
        context.not_read(fields.line("EventBusName"), message);
        return None;
    }
    Some(name.to_owned())
}

fn pattern(fields: &Fields<'_>, name: &str) -> Option<Pattern> {
    let node = fields.node(name)?;
    let read = match &node.data {
        Data::Map(_) => Pattern::of(&node.to_json()),
        _ => Pattern::parse(&fields.text(name)?),
    };
    read.map_err(|error| fields.wrong(name, &format!("is no event pattern. {error}"))).ok()
}

fn schedule(fields: &Fields<'_>) -> Option<Schedule> {
    let expression = fields.text("ScheduleExpression")?;
    match Schedule::parse(&expression) {
        Ok(Schedule::At(_)) => {
            fields.wrong("ScheduleExpression", &format!("is \"{expression}\": a rule has no at(…)"));
            None
        }
        Ok(schedule) => Some(schedule),
        Err(error) => {
            fields.wrong("ScheduleExpression", &format!("is \"{expression}\": {error}"));
            None
        }
    }
}

/// What a target gets. At most one of the three properties can be there.
fn input(fields: &Fields<'_>) -> Option<Input> {
    let given: Vec<&str> =
        ["Input", "InputPath", "InputTransformer"].into_iter().filter(|name| fields.has(name)).collect();
    if let [first, second, ..] = given[..] {
        fields.wrong(second, &format!("cannot stand beside {first}: remove one"));
        return None;
    }
    match given.first() {
        Some(&"Input") => {
            let input = fields.text("Input")?;
            if serde_json::from_str::<serde_json::Value>(&input).is_err() {
                fields.wrong("Input", "must be JSON");
            }
            Some(Input::Constant(input))
        }
        Some(&"InputPath") => {
            let path = fields.text("InputPath")?;
            Path::parse(&path).map(Input::Part).map_err(|error| fields.wrong("InputPath", &format!("{error}"))).ok()
        }
        Some(_) => {
            let transformer = fields.map("InputTransformer", &TRANSFORMER)?;
            let entries = transformer.node("InputPathsMap").map(Node::entries).unwrap_or_default();
            let mut paths = BTreeMap::new();
            for entry in entries {
                let path = fields.problems().keep(entry.value.expect_text("A path of InputPathsMap"))?;
                paths.insert(entry.key.clone(), path);
            }
            let template = transformer.text("InputTemplate")?;
            let made = Transformer::new(&paths, &template);
            made.map(Input::Transformer).map_err(|error| transformer.wrong("InputTemplate", &format!("{error}"))).ok()
        }
        None => Some(Input::Event),
    }
}
