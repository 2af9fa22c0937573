//! The resources to which services send events: functions, queues and topics, named by their ARNs.

use super::Context;
use crate::model::Target;
use crate::resource::Kind;

/// The resource of an ARN. Notes that events do not go there if the template has no such resource.
pub(super) fn of_arn(context: &Context<'_>, line: usize, arn: &str) -> Option<Target> {
    let (scope, problems) = (context.scope, context.problems);
    if let Some(queue) = scope.find(Kind::Queue, "Arn", arn) {
        return Some(Target::Queue(problems.keep(queue.name(scope))?));
    }
    if scope.find(Kind::Topic, "TopicArn", arn).is_some() {
        return Some(Target::Topic(arn.to_owned()));
    }
    if let Some(function) = context.function(arn) {
        return Some(Target::Function(problems.keep(function.name(scope))?));
    }
    let message = format!("\"{arn}\" is not a queue, topic or function of this template: events do not go there");
    context.not_read(line, message);
    None
}
