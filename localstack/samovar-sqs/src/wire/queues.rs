//! Operations on queues: create, find, list, configure, purge, delete, tag.

use std::collections::BTreeMap;
use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::{Nothing, queue_of, required};
use crate::Sqs;
use crate::attributes::{DERIVED, SETTABLE};
use crate::error::Error;
use crate::store::{Change, QueueRow};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateQueue {
    queue_name: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    /// This name begins in lower case on the wire, unlike all others.
    #[serde(default, rename = "tags", alias = "Tags")]
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct QueueUrl {
    queue_url: String,
}

pub(super) async fn create(sqs: &Sqs, request: CreateQueue) -> Result<QueueUrl, Error> {
    let name = required(request.queue_name, "QueueName")?;
    sqs.inner
        .run(|state, now_ms| {
            let created = state.create(&name, &request.attributes, now_ms)?;
            if created && !request.tags.is_empty() {
                let queue = state.queue(&name, now_ms)?;
                queue.tags = request.tags;
                let row = QueueRow::of(queue);
                state.changes.push(Change::PutQueue(row));
            }
            // The call that created an existing queue may not be committed yet.
            state.changes.push(Change::Barrier);
            Ok(())
        })
        .await?;
    Ok(QueueUrl { queue_url: sqs.queue_url(&name) })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetQueueUrl {
    queue_name: Option<String>,
}

pub(super) fn url(sqs: &Sqs, request: GetQueueUrl) -> Result<QueueUrl, Error> {
    let name = required(request.queue_name, "QueueName")?;
    if !sqs.inner.lock().queues.contains_key(&name) {
        return Err(Error::QueueDoesNotExist);
    }
    Ok(QueueUrl { queue_url: sqs.queue_url(&name) })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Page {
    queue_url: Option<String>,
    queue_name_prefix: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

impl Page {
    /// Selects this page from sorted names. The token of the next page is the last name of this one.
    fn of<'a>(&self, names: impl Iterator<Item = &'a String>) -> Result<(Vec<String>, Option<String>), Error> {
        if let Some(max) = self.max_results.filter(|max| !(1..=1000).contains(max)) {
            return Err(Error::parameter("MaxResults", max, "Must be between 1 and 1000, if provided."));
        }
        let after = self.next_token.as_deref().map(|token| {
            let name = BASE64.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            name.ok_or_else(|| {
                Error::parameter("NextToken", token, "Pass the NextToken of the previous page unchanged.")
            })
        });
        let after = after.transpose()?;
        let max = self.max_results.unwrap_or(1000);
        let mut names = names.filter(|name| after.as_ref().is_none_or(|after| *name > after));
        let page: Vec<String> = names.by_ref().take(max).cloned().collect();
        // AWS returns pages only if a page size is requested.
        let more = self.max_results.is_some() && names.next().is_some();
        let next_token = page.last().filter(|_| more).map(|name| BASE64.encode(name));
        Ok((page, next_token))
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct QueueUrls {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    queue_urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(super) fn list(sqs: &Sqs, request: Page) -> Result<QueueUrls, Error> {
    let prefix = request.queue_name_prefix.as_deref().unwrap_or_default();
    let (names, next_token) = {
        let state = sqs.inner.lock();
        let from = state.queues.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        request.of(from.map(|(name, _)| name).take_while(|name| name.starts_with(prefix)))?
    };
    Ok(QueueUrls { queue_urls: names.iter().map(|name| sqs.queue_url(name)).collect(), next_token })
}

/// This name begins in lower case on the wire, unlike in ListQueues.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SourceQueueUrls {
    queue_urls: Vec<String>,
    #[serde(rename = "NextToken", skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(super) fn dead_letter_sources(sqs: &Sqs, request: Page) -> Result<SourceQueueUrls, Error> {
    let target = queue_of(request.queue_url.clone())?;
    let sources: Vec<String> = {
        let state = sqs.inner.lock();
        if !state.queues.contains_key(&target) {
            return Err(Error::QueueDoesNotExist);
        }
        state.dead_letter_sources(&target).into_iter().map(str::to_owned).collect()
    };
    let (names, next_token) = request.of(sources.iter())?;
    Ok(SourceQueueUrls { queue_urls: names.iter().map(|name| sqs.queue_url(name)).collect(), next_token })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct QueueRequest {
    queue_url: Option<String>,
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    tag_keys: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AttributeMap {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
}

pub(super) fn get_attributes(sqs: &Sqs, request: QueueRequest) -> Result<AttributeMap, Error> {
    let name = queue_of(request.queue_url)?;
    let wanted = request.attribute_names;
    let known = |name: &str| name == "All" || DERIVED.contains(&name) || SETTABLE.contains(&name);
    if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
        return Err(Error::UnknownAttribute(unknown.clone()));
    }
    let (attributes, _unawaited) = sqs.inner.transact(|state, now_ms| {
        let arn = state.arn(&name);
        let queue = state.queue(&name, now_ms)?;
        let mut attributes = queue.attributes.render();
        let derived = [
            ("ApproximateNumberOfMessages", queue.visible().to_string()),
            ("ApproximateNumberOfMessagesNotVisible", queue.in_flight().to_string()),
            ("ApproximateNumberOfMessagesDelayed", queue.delayed().to_string()),
            ("CreatedTimestamp", (queue.created_ms / 1000).to_string()),
            ("LastModifiedTimestamp", (queue.modified_ms / 1000).to_string()),
            ("QueueArn", arn),
        ];
        attributes.extend(derived.map(|(name, value)| (name.to_owned(), value)));
        Ok(attributes)
    });
    let mut attributes = attributes?;
    if !wanted.iter().any(|name| name == "All") {
        attributes.retain(|name, _| wanted.contains(name));
    }
    Ok(AttributeMap { attributes })
}

pub(super) async fn set_attributes(sqs: &Sqs, request: QueueRequest) -> Result<Nothing, Error> {
    let name = queue_of(request.queue_url)?;
    sqs.inner.run(|state, now_ms| state.set_attributes(&name, &request.attributes, now_ms)).await?;
    Ok(Nothing {})
}

pub(super) async fn purge(sqs: &Sqs, request: QueueRequest) -> Result<Nothing, Error> {
    let name = queue_of(request.queue_url)?;
    sqs.inner.run(|state, now_ms| state.purge(&name, now_ms)).await?;
    Ok(Nothing {})
}

/// AWS takes up to 60 seconds to delete, and refuses a new queue of that name for as long. Here both happen at once.
pub(super) async fn delete(sqs: &Sqs, request: QueueRequest) -> Result<Nothing, Error> {
    let name = queue_of(request.queue_url)?;
    sqs.inner.run(|state, _| state.delete_queue(&name)).await?;
    Ok(Nothing {})
}

pub(super) async fn tag(sqs: &Sqs, request: QueueRequest) -> Result<Nothing, Error> {
    change_tags(sqs, request.queue_url, |tags| tags.extend(request.tags)).await
}

pub(super) async fn untag(sqs: &Sqs, request: QueueRequest) -> Result<Nothing, Error> {
    change_tags(sqs, request.queue_url, |tags| tags.retain(|key, _| !request.tag_keys.contains(key))).await
}

async fn change_tags(
    sqs: &Sqs,
    queue_url: Option<String>,
    change: impl FnOnce(&mut BTreeMap<String, String>),
) -> Result<Nothing, Error> {
    let name = queue_of(queue_url)?;
    sqs.inner
        .run(|state, now_ms| {
            let queue = state.queue(&name, now_ms)?;
            change(&mut queue.tags);
            let row = QueueRow::of(queue);
            state.changes.push(Change::PutQueue(row));
            Ok(())
        })
        .await?;
    Ok(Nothing {})
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagMap {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

pub(super) fn tags(sqs: &Sqs, request: QueueRequest) -> Result<TagMap, Error> {
    let name = queue_of(request.queue_url)?;
    let state = sqs.inner.lock();
    let queue = state.queues.get(&name).ok_or(Error::QueueDoesNotExist)?;
    Ok(TagMap { tags: queue.tags.clone() })
}
