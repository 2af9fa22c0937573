//! The services of a stack, embedded or at another emulator.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use samovar_services::dynamodb::DynamoDb;
use samovar_services::event_queues::EventQueues;
use samovar_services::eventbridge::EventBridge;
use samovar_services::queues::Queues;
use samovar_services::remote::{self, Emulator, Remote};
use samovar_services::s3::{Notifications, S3};
use samovar_services::targets::Targets;
use samovar_services::{Credentials, Services};
use samovar_sqs::{Sqs, Storage, SystemClock};
use samovar_template::{Bucket, Template, Trigger};

use super::urls::Urls;
use super::{ACCOUNT_ID, REGION, account, environment};
use crate::options::Options;

/// The services of a stack, and what its functions' asynchronous invocations need.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) services: Arc<Services>,
    pub(super) events: EventQueues,
    pub(super) targets: Targets,
}

/// Opens the engines, and creates the template's resources in them.
pub(super) async fn open(
    options: &Options,
    template: &Template,
    data_dir: Option<&Path>,
    urls: &Urls,
    credentials: Option<&Credentials>,
) -> Result<Opened> {
    let emulator =
        |url: &str| Emulator { url: url.to_owned(), region: REGION.to_owned(), credentials: credentials.cloned() };
    let dynamodb = match options.dynamodb_url() {
        Some(url) => DynamoDb::Remote(Remote::new(emulator(url), "DynamoDB_20120810", "dynamodb")),
        None => DynamoDb::open(data_dir)?,
    };
    let queues = match options.sqs_url() {
        Some(url) => Queues::Remote(Remote::new(emulator(url), "AmazonSQS", "sqs")),
        None => {
            let storage = data_dir.map_or(Storage::Memory, |dir| Storage::File(dir.join("sqs.sqlite")));
            Queues::Embedded(Sqs::open(storage, REGION, ACCOUNT_ID, &urls.sqs, Arc::new(SystemClock))?)
        }
    };
    let functions = template.functions.iter().map(|function| function.function_name.as_str());
    let events = EventQueues::open(data_dir, functions).await?;
    let targets = Targets::new(events.clone(), queues.clone(), template)?;
    let buses = template.event_buses.iter().map(|bus| bus.name.clone());
    let rules = template.functions.iter().flat_map(|function| &function.rules).chain(&template.event_rules).cloned();
    let eventbridge = Arc::new(EventBridge::new(account(), buses, rules, targets.clone()));
    let s3 = match options.s3_url() {
        Some(url) => {
            remote::make_buckets(&emulator(url), &template.buckets).await;
            let of_functions = template.functions.iter().flat_map(|function| &function.triggers);
            let notifies = |bucket: &Bucket| !bucket.notifications.is_empty() || bucket.event_bridge;
            if of_functions.into_iter().any(|one| matches!(one, Trigger::S3 { .. }))
                || template.buckets.iter().any(notifies)
            {
                tracing::warn!("The events of buckets at {url} do not come here: functions and queues are not told");
            }
            None
        }
        None => {
            let callers = template.functions.iter().map(|function| function.name.as_str());
            let callers = callers.chain([environment::INVOKE_ENDPOINT]);
            let notifications = Notifications::of(&template.buckets, &template.functions, targets.clone());
            let notifications = notifications.through(Arc::clone(&eventbridge));
            Some(S3::open(data_dir, &template.buckets, callers, options.lifecycle_day, notifications)?)
        }
    };
    dynamodb.create(&template.tables).await?;
    queues.create(&template.queues).await?;
    let services = Services::new(dynamodb, queues, s3);
    services.serve_events(eventbridge);
    services.serve_topics(targets.clone());
    Ok(Opened { services, events, targets })
}
