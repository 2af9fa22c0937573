//! The services of a stack: embedded, or another emulator's.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use samovar_services::Services;
use samovar_services::dynamodb::DynamoDb;
use samovar_services::queues::Queues;
use samovar_services::remote::{self, Remote};
use samovar_services::s3::S3;
use samovar_sqs::{Sqs, Storage, SystemClock};
use samovar_template::Template;

use super::urls::Urls;
use super::{ACCOUNT_ID, REGION, environment};
use crate::options::Options;

/// The engines, with what the template declares in them.
pub(super) async fn open(
    options: &Options,
    template: &Template,
    data_dir: Option<&Path>,
    urls: &Urls,
) -> Result<Arc<Services>> {
    let dynamodb = match options.dynamodb_url() {
        Some(url) => DynamoDb::Remote(Remote::new(url, "DynamoDB_20120810", "dynamodb", REGION)),
        None => DynamoDb::open(data_dir)?,
    };
    let queues = match options.sqs_url() {
        Some(url) => Queues::Remote(Remote::new(url, "AmazonSQS", "sqs", REGION)),
        None => {
            let storage = data_dir.map_or(Storage::Memory, |dir| Storage::File(dir.join("sqs.sqlite")));
            Queues::Embedded(Sqs::open(storage, REGION, ACCOUNT_ID, &urls.sqs, Arc::new(SystemClock))?)
        }
    };
    let s3 = match options.s3_url() {
        Some(url) => {
            remote::make_buckets(url, &template.buckets, REGION).await;
            None
        }
        None => {
            let callers = template.functions.iter().map(|function| function.name.as_str());
            let callers = callers.chain([environment::INVOKE_ENDPOINT]);
            Some(S3::open(data_dir, &template.buckets, callers, options.lifecycle_day)?)
        }
    };
    dynamodb.create(&template.tables).await?;
    queues.create(&template.queues).await?;
    Ok(Services::new(dynamodb, queues, s3))
}
