//! The services of a stack, embedded or at another emulator.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use samovar_services::dynamodb::DynamoDb;
use samovar_services::queues::Queues;
use samovar_services::remote::{self, Emulator, Remote};
use samovar_services::s3::S3;
use samovar_services::{Credentials, Services};
use samovar_sqs::{Sqs, Storage, SystemClock};
use samovar_template::Template;

use super::urls::Urls;
use super::{ACCOUNT_ID, REGION, environment};
use crate::options::Options;

/// Opens the engines, and creates the template's resources in them.
pub(super) async fn open(
    options: &Options,
    template: &Template,
    data_dir: Option<&Path>,
    urls: &Urls,
    credentials: Option<&Credentials>,
) -> Result<Arc<Services>> {
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
    let s3 = match options.s3_url() {
        Some(url) => {
            remote::make_buckets(&emulator(url), &template.buckets).await;
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
