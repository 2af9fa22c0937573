//! S3 from outside: over HTTP, with the SDK where it has the call, otherwise in the way a browser calls it.

mod buckets;
mod cors;
mod door;
mod forms;
mod hostile;
mod keys;
mod lifecycle;
mod notifications;
mod objects;
mod parts;
mod permissions;
mod presigned;
mod streams;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, Region};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Notifications, S3};
use crate::Services;
use crate::dynamodb::DynamoDb;
use crate::queues::Queues;
use samovar_sqs::{Sqs, Storage, SystemClock};
use samovar_template::{Bucket, CorsRule, Expiration};

const BUCKET: &str = "local-media";
const OTHER: &str = "local-other";
const FUNCTION: &str = "worker";
const DAY: Duration = Duration::from_secs(86_400);

/// Two buckets on a free port, callable by one function.
struct Served {
    url: String,
    services: Arc<Services>,
    /// The data directory.
    dir: TempDir,
    _stop: DropGuard,
}

fn buckets() -> [Bucket; 2] {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let page = CorsRule {
        allowed_origins: texts(&["http://localhost:*", "https://app.example"]),
        allowed_methods: texts(&["GET", "POST", "PUT"]),
        allowed_headers: texts(&["content-type", "x-amz-*"]),
        exposed_headers: texts(&["ETag", "x-amz-request-id"]),
        max_age_seconds: Some(600),
    };
    let anybody = CorsRule { allowed_origins: texts(&["*"]), allowed_methods: texts(&["GET"]), ..CorsRule::default() };
    let expirations = vec![Expiration { prefix: "uploads/".to_owned(), days: 1 }];
    let media = Bucket {
        logical_id: "Media".into(),
        name: BUCKET.into(),
        cors: vec![page, anybody],
        expirations,
        notifications: Vec::new(),
        event_bridge: false,
    };
    let other = Bucket {
        logical_id: "Other".into(),
        name: OTHER.into(),
        cors: Vec::new(),
        expirations: Vec::new(),
        notifications: Vec::new(),
        event_bridge: false,
    };
    [media, other]
}

fn services(dir: Option<&Path>) -> Arc<Services> {
    let queues = Sqs::open(Storage::Memory, "us-east-1", "000000000000", "http://127.0.0.1", Arc::new(SystemClock));
    let dynamodb = DynamoDb::open(None).expect("a database in memory");
    let s3 = S3::open(dir, &buckets(), [FUNCTION].into_iter(), DAY, Notifications::default()).expect("buckets");
    Services::new(dynamodb, Queues::Embedded(queues.expect("queues in memory")), Some(s3))
}

impl Served {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let services = services(Some(dir.path()));
        Self::of(services, dir).await
    }

    /// Serves these services, which have this data directory.
    async fn of(services: Arc<Services>, dir: TempDir) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let stop = CancellationToken::new();
        let (served, stopped) = (Arc::clone(&services), stop.clone());
        tokio::spawn(async move { served.serve(listener, stopped).await });
        Self { url, services, dir, _stop: stop.drop_guard() }
    }

    fn s3(&self) -> &S3 {
        self.services.s3.as_ref().expect("embedded")
    }

    /// A client with a function's credentials.
    fn client(&self) -> Client {
        self.client_of("LOCAL-worker", "local", Some("local"))
    }

    fn client_of(&self, access_key: &str, secret: &str, token: Option<&str>) -> Client {
        let credentials = Credentials::new(access_key, secret, token.map(str::to_owned), None, "tests");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version_latest()
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.url)
            .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
            .credentials_provider(credentials);
        Client::from_conf(config.build())
    }

    async fn put(&self, key: &str, body: &[u8], content_type: &str) {
        let put = self.client().put_object().bucket(BUCKET).key(key).content_type(content_type);
        put.body(body.to_vec().into()).send().await.expect("stored");
    }

    async fn get(&self, key: &str) -> Option<Vec<u8>> {
        let got = self.client().get_object().bucket(BUCKET).key(key).send().await.ok()?;
        Some(got.body.collect().await.expect("a whole body").to_vec())
    }

    async fn keys(&self) -> Vec<String> {
        let listed = self.client().list_objects_v2().bucket(BUCKET).send().await.expect("a list");
        listed.contents().iter().map(|object| object.key().unwrap_or_default().to_owned()).collect()
    }

    /// The files under `objects/` that are not objects but unfinished uploads.
    fn uploads(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("objects/.uploads")).expect("a folder").count()
    }

    fn calls(&self) -> BTreeMap<String, u64> {
        let snapshot = self.services.meter.snapshot();
        serde_json::from_value(snapshot[FUNCTION]["s3"].clone()).unwrap_or_default()
    }
}

/// The status, and the code in the XML of an error.
async fn outcome(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (status, between(&text, "<Code>", "</Code>"))
}

fn between(text: &str, start: &str, end: &str) -> String {
    let rest = text.split_once(start).map_or("", |(_, rest)| rest);
    rest.split_once(end).map_or("", |(found, _)| found).to_owned()
}
