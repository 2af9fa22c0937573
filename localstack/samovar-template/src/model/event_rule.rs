//! EventBridge: buses, and rules with their targets.

use samovar_eventbridge::{Input, Pattern, Schedule};

use super::Target;

/// `AWS::Events::EventBus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventBus {
    /// Its name in the template.
    pub logical_id: String,
    /// `Name`.
    pub name: String,
    /// As `!GetAtt EventBus.Arn` gives it.
    pub arn: String,
}

/// `AWS::Events::Rule`, or the rule that SAM makes of an event of the type `EventBridgeRule` or `CloudWatchEvent`.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRule {
    /// Its name in the template, or the id that SAM generates.
    pub logical_id: String,
    /// `Name`, or a name made of stack and logical id.
    pub name: String,
    /// As `!GetAtt Rule.Arn` gives it.
    pub arn: String,
    /// The name of its bus.
    pub bus: String,
    /// `EventPattern`.
    pub pattern: Option<Pattern>,
    /// `ScheduleExpression`: a rate or a cron expression, in UTC.
    pub schedule: Option<Schedule>,
    /// `State`.
    pub enabled: bool,
    /// `Targets`, without those that are not in the template.
    pub targets: Vec<RuleTarget>,
}

/// A target of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleTarget {
    /// `Id`.
    pub id: String,
    /// The resource that gets the events.
    pub target: Target,
    /// What it gets of an event.
    pub input: Input,
}
