//! The calls of SNS, and their answers.

use serde_json::{Map, Value};

use super::query::{Query, element, escaped};
use super::{Publication, Subscription};
use crate::answer::Answer;
use crate::ids::uuid;
use crate::targets::Targets;

/// SNS's limit on a message with its attributes, and on all messages of a batch.
const MAX_BYTES: usize = 256 * 1024;
/// SNS's limit on the entries of a batch.
const MAX_ENTRIES: usize = 10;
const MAX_SUBJECT: usize = 100;

/// A refused call or entry: status, code and text of SNS.
#[derive(Debug)]
struct Refused(u16, &'static str, String);

impl Refused {
    fn parameter(message: impl Into<String>) -> Self {
        Self(400, "InvalidParameter", format!("Invalid parameter: {}", message.into()))
    }
}

/// The topic that a request names. Empty if it names none.
pub(crate) fn topic_of(query: &Query) -> &str {
    query.get("TopicArn").or_else(|| query.get("TargetArn")).unwrap_or_default()
}

/// Makes one call.
pub(crate) async fn call(targets: &Targets, operation: &str, query: &Query) -> Answer {
    let result = match operation {
        "Publish" => publish(targets, query).await,
        "PublishBatch" => publish_batch(targets, query).await,
        "CreateTopic" => create(targets, query),
        "ListTopics" => Ok(listed("Topics", targets.topics().all.keys().map(|arn| element("TopicArn", arn)))),
        "GetTopicAttributes" => attributes(targets, query),
        "ListSubscriptions" => {
            let all = targets.topics().all.iter();
            let all = all.flat_map(|(arn, topic)| topic.subscriptions.iter().map(|one| member(arn, one)));
            Ok(listed("Subscriptions", all))
        }
        "ListSubscriptionsByTopic" => existing(targets, query).map(|arn| {
            let all = targets.topics().all.get(arn).map(|topic| topic.subscriptions.as_slice()).unwrap_or_default();
            listed("Subscriptions", all.iter().map(|one| member(arn, one)))
        }),
        other => Err(Refused(501, "NotImplementedException", format!("The local stack has no call {other} of sns"))),
    };
    match result {
        Ok(result) => {
            answer(200, &format!("{operation}Response"), &format!("<{operation}Result>{result}</{operation}Result>"))
        }
        Err(Refused(status, code, message)) => error(status, code, &message),
    }
}

/// An error in the form of SNS.
pub(crate) fn error(status: u16, code: &str, message: &str) -> Answer {
    let side = if status < 500 { "Sender" } else { "Receiver" };
    let parts = element("Type", side) + &element("Code", code) + &element("Message", message);
    answer(status, "ErrorResponse", &format!("<Error>{parts}</Error>"))
}

fn answer(status: u16, name: &str, inner: &str) -> Answer {
    let id = uuid();
    let metadata = match name {
        "ErrorResponse" => element("RequestId", &id),
        _ => format!("<ResponseMetadata>{}</ResponseMetadata>", element("RequestId", &id)),
    };
    let body = format!("<{name} xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">{inner}{metadata}</{name}>");
    let headers = vec![("content-type", "text/xml".to_owned()), ("x-amzn-requestid", id)];
    Answer { status, headers, body: body.into_bytes() }
}

fn listed(name: &str, members: impl Iterator<Item = String>) -> String {
    let members: String = members.map(|member| format!("<member>{member}</member>")).collect();
    format!("<{name}>{members}</{name}>")
}

fn member(topic: &str, one: &Subscription) -> String {
    let owner = topic.split(':').nth(4).unwrap_or_default();
    [
        ("TopicArn", topic),
        ("Protocol", &one.protocol),
        ("SubscriptionArn", &one.arn),
        ("Owner", owner),
        ("Endpoint", &one.endpoint),
    ]
    .map(|(name, value)| element(name, value))
    .concat()
}

/// The topic of the request, if it is there.
fn existing<'a>(targets: &Targets, query: &'a Query) -> Result<&'a str, Refused> {
    let arn = topic_of(query);
    if arn.is_empty() {
        let message = match query.get("PhoneNumber") {
            Some(_) => "PhoneNumber Reason: the local stack sends no text messages",
            None => "TopicArn or TargetArn Reason: no value for required parameter",
        };
        return Err(Refused::parameter(message));
    }
    match targets.topics().has(arn) {
        true => Ok(arn),
        false => Err(Refused(404, "NotFound", "Topic does not exist".to_owned())),
    }
}

async fn publish(targets: &Targets, query: &Query) -> Result<String, Refused> {
    let topic = existing(targets, query)?;
    let (publication, _) = publication(query, "")?;
    let id = send(targets, topic, &publication).await?;
    Ok(element("MessageId", &id))
}

async fn send(targets: &Targets, topic: &str, publication: &Publication) -> Result<String, Refused> {
    targets.publish(topic, publication).await.map_err(|error| {
        tracing::error!("A message of {topic} could not be delivered: {error:#}");
        Refused(500, "InternalError", format!("{error:#}"))
    })
}

/// The message below this prefix, and its size in bytes.
fn publication(query: &Query, prefix: &str) -> Result<(Publication, usize), Refused> {
    let get = |name: &str| query.get(&format!("{prefix}{name}")).map(str::to_owned);
    let text = get("Message").filter(|text| !text.is_empty()).ok_or_else(|| Refused::parameter("Empty message"))?;
    let attributes = query.attributes(prefix).map_err(|message| Refused(400, "ParameterValueInvalid", message))?;
    let of_attributes = attributes.iter().map(|(name, value)| {
        let text = value.string_value.as_ref().map_or(0, String::len);
        name.len() + value.data_type.len() + text + value.binary_value.as_ref().map_or(0, Vec::len)
    });
    let bytes = text.len() + of_attributes.sum::<usize>();
    if bytes > MAX_BYTES {
        return Err(Refused::parameter("Message too long"));
    }
    let subject = get("Subject");
    if subject.as_ref().is_some_and(|it| it.is_empty() || it.len() > MAX_SUBJECT || it.contains('\n')) {
        return Err(Refused::parameter("Subject"));
    }
    let by_protocol = match get("MessageStructure").as_deref() {
        None => None,
        Some("json") => {
            let map: Option<Map<String, Value>> = serde_json::from_str(&text).ok();
            let map = map.filter(|map| map.get("default").is_some_and(Value::is_string));
            let wrong = || Refused::parameter("Message Structure - No default entry in JSON message body");
            Some(map.ok_or_else(wrong)?)
        }
        Some(_) => return Err(Refused::parameter("MessageStructure")),
    };
    Ok((Publication { text, subject, attributes, by_protocol }, bytes))
}

/// Each entry has its own outcome.
async fn publish_batch(targets: &Targets, query: &Query) -> Result<String, Refused> {
    let topic = existing(targets, query)?;
    let entries = query.members("PublishBatchRequestEntries.member.");
    let ids: Vec<&str> = entries.iter().map(|at| query.get(&format!("{at}Id")).unwrap_or_default()).collect();
    let refuse = |code, message: &str| Err(Refused(400, code, message.to_owned()));
    if entries.is_empty() {
        return refuse("EmptyBatchRequest", "The batch request doesn't contain any entries.");
    }
    if entries.len() > MAX_ENTRIES {
        return refuse("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.");
    }
    if ids.iter().enumerate().any(|(at, id)| ids[..at].contains(id)) {
        return refuse("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.");
    }
    let read: Vec<_> = entries.iter().map(|at| publication(query, at)).collect();
    if read.iter().flatten().map(|(_, bytes)| bytes).sum::<usize>() > MAX_BYTES {
        return refuse(
            "BatchRequestTooLong",
            "The length of all the batch messages put together is more than the limit.",
        );
    }
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, entry) in ids.iter().zip(read) {
        let sent = match entry {
            Ok((publication, _)) => send(targets, topic, &publication).await,
            Err(refused) => Err(refused),
        };
        match sent {
            Ok(message) => successful.push(element("Id", id) + &element("MessageId", &message)),
            Err(Refused(status, code, message)) => {
                let sender = element("SenderFault", if status < 500 { "true" } else { "false" });
                failed.push(element("Id", id) + &element("Code", code) + &element("Message", &message) + &sender);
            }
        }
    }
    Ok(listed("Successful", successful.into_iter()) + &listed("Failed", failed.into_iter()))
}

/// Topics are the template's, so one can only be found.
fn create(targets: &Targets, query: &Query) -> Result<String, Refused> {
    let name = query.get("Name").unwrap_or_default();
    let found = targets.topics().all.keys().find(|arn| arn.rsplit(':').next() == Some(name));
    match found {
        Some(arn) => Ok(element("TopicArn", arn)),
        None => {
            Err(Refused::parameter(format!("Name Reason: the local stack has the topics of the template, not {name}")))
        }
    }
}

fn attributes(targets: &Targets, query: &Query) -> Result<String, Refused> {
    let arn = existing(targets, query)?;
    let subscriptions = targets.topics().all.get(arn).map_or(0, |topic| topic.subscriptions.len()).to_string();
    let owner = arn.split(':').nth(4).unwrap_or_default();
    let entries = [
        ("TopicArn", arn),
        ("Owner", owner),
        ("DisplayName", ""),
        ("SubscriptionsConfirmed", &subscriptions),
        ("SubscriptionsPending", "0"),
        ("SubscriptionsDeleted", "0"),
    ];
    let entry = |(name, value): (&str, &str)| {
        format!("<entry><key>{}</key><value>{}</value></entry>", escaped(name), escaped(value))
    };
    Ok(format!("<Attributes>{}</Attributes>", entries.map(entry).concat()))
}
