//! Reads what no client sees: the tables, the bucket, the queues and the faults. It asks the stack's services on the
//! public port, as functions do. Reading changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::{Value, json};

use crate::checker::Lease;
use crate::workspace;

/// The queue that starts the janitor at once ([`template`]).
const JANITOR_QUEUE: &str = "janitor-at-once";

/// The reason why a call failed. The stack may just be down.
pub type Failed = String;

#[derive(Debug, Clone)]
pub struct Backstage {
    url: String,
    http: reqwest::Client,
    environment: BTreeMap<String, String>,
}

/// The places that are taken at one moment.
#[derive(Debug, Default)]
pub struct Places {
    pub leases: Vec<Lease>,
    /// The connection of each slot that is taken.
    pub slots: Vec<String>,
    /// The number of slots that no lease names. A function gives a place back in two writes, and may die between them.
    pub left_behind: usize,
    /// The number of ends that connected users must still be told.
    pub untold: usize,
}

/// Writes the template with one addition: a queue that starts the janitor, because a minute is long for a test.
pub fn template(directory: &Path) -> PathBuf {
    let text = std::fs::read_to_string(workspace().join("infra/template.yaml")).expect("the template");
    let root = workspace().display();
    let at_once = "      Events:\n        AtOnce:\n          Type: SQS\n          Properties: \
                   { Queue: !GetAtt AtOnceQueue.Arn, BatchSize: 1 }\n        EveryMinute:\n";
    let queue = format!(
        "\nResources:\n  AtOnceQueue:\n    Type: AWS::SQS::Queue\n    Properties:\n      QueueName: {JANITOR_QUEUE}\n      \
         VisibilityTimeout: 60\n"
    );
    let mut changed = text.clone();
    for (from, to) in [
        ("      Events:\n        EveryMinute:\n", at_once),
        ("\nResources:\n", queue.as_str()),
        ("CodeUri: ..\n", format!("CodeUri: {root}\n").as_str()),
        ("Directory: ../web", format!("Directory: {root}/web").as_str()),
    ] {
        assert!(changed.contains(from), "the template has no {from:?} any more");
        changed = changed.replace(from, to);
    }
    let path = directory.join("template.yaml");
    std::fs::write(&path, changed).expect("a file in a temporary directory");
    path
}

impl Backstage {
    pub async fn open(url: &str) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().expect("an HTTP client");
        let text = http.get(format!("{url}/_local/environment")).send().await.expect("an answer");
        let text = text.text().await.expect("a text");
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { url: url.to_owned(), http, environment }
    }

    fn variable(&self, name: &str) -> &str {
        self.environment.get(name).unwrap_or_else(|| panic!("{name} is not in the functions' environment"))
    }

    async fn aws(&self, target: &str, body: &Value) -> Result<Value, Failed> {
        let request = self.http.post(format!("{}/_aws", self.url)).header("x-amz-target", target);
        let answer = request.body(body.to_string()).send().await.map_err(|error| error.to_string())?;
        let (status, body) = (answer.status(), answer.text().await.map_err(|error| error.to_string())?);
        if !status.is_success() {
            return Err(format!("{target}: {status} {body}"));
        }
        serde_json::from_str(&body).map_err(|error| format!("{target}: {error}"))
    }

    /// All items of a table for which the filter holds.
    async fn scan(&self, table: &str, filter: &str, values: &Value, names: &Value) -> Result<Vec<Value>, Failed> {
        let (mut items, mut start) = (Vec::new(), Value::Null);
        loop {
            let mut request = json!({ "TableName": table, "ConsistentRead": true, "FilterExpression": filter });
            for (name, value) in [("ExpressionAttributeValues", values), ("ExpressionAttributeNames", names)] {
                if !value.is_null() {
                    request[name] = value.clone();
                }
            }
            if !start.is_null() {
                request["ExclusiveStartKey"] = start;
            }
            let mut page = self.aws("DynamoDB_20120810.Scan", &request).await?;
            items.extend(page["Items"].as_array_mut().map(std::mem::take).unwrap_or_default());
            start = page["LastEvaluatedKey"].take();
            if start.is_null() {
                return Ok(items);
            }
        }
    }

    /// The ids of all messages that are `queued` or `processing`.
    pub async fn unended(&self) -> Result<Vec<String>, Failed> {
        let values = json!({ ":queued": { "S": "queued" }, ":processing": { "S": "processing" } });
        let names = json!({ "#status": "status" });
        let items =
            self.scan(self.variable("CHAT_TABLE"), "#status IN (:queued, :processing)", &values, &names).await?;
        Ok(items.iter().map(|item| text(item, "id")).collect())
    }

    /// The places that are taken. The table is small, so one scan shows one moment.
    pub async fn places(&self) -> Result<Places, Failed> {
        let values = json!({ ":now": { "N": now_ms().to_string() } });
        let table = self.variable("CONNECTIONS_TABLE");
        let items = self.scan(table, "expires_at > :now", &values, &Value::Null).await?;
        // The scan may have been late. By then, a slot that had ended may have belonged to another user. An item that
        // has not ended now had not ended at the moment of the scan either, whenever that was.
        let after = now_ms();
        let lasts = |item: &&Value| {
            let expires_at = item["expires_at"]["N"].as_str().and_then(|text| text.parse::<u128>().ok());
            expires_at.is_some_and(|expires_at| expires_at > after)
        };
        let mut places = Places::default();
        let mut slots = Vec::new();
        for item in items.iter().filter(lasts) {
            let (key, connection) = (text(item, "pk"), text(item, "connection_id"));
            if let Some(user) = key.strip_prefix("user#") {
                places.untold += item["untold"]["M"].as_object().map_or(0, serde_json::Map::len);
                places.leases.push(Lease { user: user.to_owned(), connection });
            } else {
                slots.push((text(item, "user_id"), connection.clone()));
                places.slots.push(connection);
            }
        }
        let holds = |user: &String, connection: &String| {
            places.leases.iter().any(|lease| &lease.user == user && &lease.connection == connection)
        };
        places.left_behind = slots.iter().filter(|(user, connection)| !holds(user, connection)).count();
        Ok(places)
    }

    /// The keys of objects that are noted as about to be used.
    pub async fn held(&self) -> Result<Vec<String>, Failed> {
        let values = json!({ ":held": { "S": "held" } });
        let items = self.scan(self.variable("CHAT_TABLE"), "pk = :held", &values, &Value::Null).await?;
        Ok(items.iter().map(|item| text(item, "media_key")).collect())
    }

    /// The keys of the objects under `media/`, without the part that names their users.
    pub async fn objects(&self) -> Result<Vec<String>, Failed> {
        let (mut keys, mut after) = (Vec::new(), String::new());
        loop {
            let bucket = self.variable("MEDIA_BUCKET");
            let mut url = format!("{}/{bucket}?list-type=2&prefix=media%2F", self.url);
            if !after.is_empty() {
                url.push_str(&format!("&start-after={}", after.replace('/', "%2F")));
            }
            let mut request = self.http.get(&url);
            for (name, value) in signed(&url) {
                request = request.header(name, value);
            }
            let answer = request.send().await.map_err(|error| error.to_string())?;
            let (status, page) = (answer.status(), answer.text().await.map_err(|error| error.to_string())?);
            if !status.is_success() {
                return Err(format!("ListObjectsV2: {status} {page}"));
            }
            let listed = page.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
            let listed: Vec<&str> = listed.collect();
            keys.extend(listed.iter().map(|key| key.rsplit('/').next().unwrap_or_default().to_owned()));
            match listed.last().filter(|_| page.contains("<IsTruncated>true")) {
                Some(last) => (*last).clone_into(&mut after),
                None => return Ok(keys),
            }
        }
    }

    /// Starts the janitor, with an event that contains `case`.
    pub async fn run_janitor(&self, case: &str) -> Result<(), Failed> {
        let url = format!("{}/_aws/000000000000/{JANITOR_QUEUE}", self.url);
        let message = json!({ "QueueUrl": url, "MessageBody": json!({ "case": case }).to_string() });
        self.aws("AmazonSQS.SendMessage", &message).await.map(|_| ())
    }

    pub async fn state(&self) -> Result<Value, Failed> {
        self.local(reqwest::Method::GET, "/_local/state", None).await.map(|(_, body)| body)
    }

    /// The number of calls from functions to services since the stack was started.
    pub async fn calls_so_far(&self) -> u64 {
        let state = self.state().await.unwrap_or_default();
        let calls = state["bill"]["calls"].as_object().into_iter().flatten();
        let services = calls.flat_map(|(_, services)| services.as_object().into_iter().flatten());
        let operations = services.flat_map(|(_, operations)| operations.as_object().into_iter().flatten());
        operations.filter_map(|(_, count)| count.as_u64()).sum()
    }

    /// Asks a path under `/_local`. Returns the status and the body.
    pub async fn local(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), Failed> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let (status, text) = (answer.status().as_u16(), answer.text().await.map_err(|error| error.to_string())?);
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }
}

fn text(item: &Value, attribute: &str) -> String {
    item[attribute]["S"].as_str().unwrap_or_default().to_owned()
}

#[allow(clippy::disallowed_methods, reason = "the one place where a campaign reads the clock")]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

fn now_ms() -> u128 {
    now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_millis())
}

/// Signs a GET with the credentials of functions that run elsewhere. Returns its headers.
fn signed(url: &str) -> Vec<(String, String)> {
    let credentials = Credentials::new("LOCAL-invoke-endpoint", "local", Some("local".to_owned()), None, "campaign");
    let identity = credentials.into();
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = aws_sigv4::http_request::PayloadChecksumKind::XAmzSha256;
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(now())
        .settings(settings)
        .build()
        .expect("all is given")
        .into();
    let request = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::Bytes(b"")).expect("a request");
    let (instructions, _) = sign(request, &parameters).expect("it can be signed").into_parts();
    instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
