//! DynamoDB Streams: the API for programs that read a stream themselves, and the records for event source mappings.
//!
//! The engine writes a record in the transaction of the change that it describes, so no change is without its record.
//! Each table has one shard, which is never closed. Records are kept as long as the table, where AWS keeps them for a
//! day. What the engine gives is completed here: the ARN and the region of the template, the size by DynamoDB's rules
//! ("Item sizes and formats" in its developer guide), and no record of a write that has changed nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::Answer;
use super::dynamodb::DynamoDb;
use super::permissions::{Account, Need};

/// The most records that one call gives.
const MOST_RECORDS: usize = 1000;

/// The ARNs of the template's streams, by their tables.
pub(crate) type Arns = BTreeMap<String, String>;

pub(crate) fn is_operation(operation: &str) -> bool {
    matches!(operation, "DescribeStream" | "GetRecords" | "GetShardIterator" | "ListStreams")
}

/// The shard of a table's stream.
pub fn shard_id(table: &str) -> String {
    dynoxide::streams::shard_id(table)
}

impl DynamoDb {
    /// Makes one call of the streams' API.
    pub(crate) async fn streams_call(&self, operation: &str, body: Bytes) -> Answer {
        if !is_operation(operation) {
            let message = format!("The local DynamoDB Streams do not support {operation}");
            return Answer::error(400, "UnknownOperationException", &message);
        }
        let mut answer = self.call(operation, body).await;
        if answer.status == 200
            && let Ok(mut response) = serde_json::from_slice(&answer.body)
        {
            complete(operation, &mut response, self.stream_arns());
            answer.body = response.to_string().into_bytes();
        }
        answer
    }

    /// The sequence number of the newest record of a table's stream, if there is one.
    ///
    /// # Errors
    /// The table has no stream.
    pub async fn stream_end(&self, table: &str) -> Result<Option<String>> {
        let described = self.expect("DescribeStream", &json!({ "StreamArn": arn_of(table) })).await?;
        let range = &described["StreamDescription"]["Shards"][0]["SequenceNumberRange"];
        Ok(range["EndingSequenceNumber"].as_str().map(str::to_owned))
    }

    /// The records of a table's stream after a sequence number, or from the oldest, in the form of a function's event.
    ///
    /// # Errors
    /// The table has no stream.
    pub async fn stream_records(&self, table: &str, after: Option<&str>, max: usize) -> Result<Vec<Value>> {
        let mut request = json!({ "StreamArn": arn_of(table), "ShardId": shard_id(table) });
        match after {
            Some(after) => {
                request["ShardIteratorType"] = "AFTER_SEQUENCE_NUMBER".into();
                request["SequenceNumber"] = after.into();
            }
            None => request["ShardIteratorType"] = "TRIM_HORIZON".into(),
        }
        let mut iterator = self.expect("GetShardIterator", &request).await?["ShardIterator"].take();
        let mut all = Vec::new();
        while all.len() < max {
            let limit = (max - all.len()).min(MOST_RECORDS);
            let mut response = self.expect("GetRecords", &json!({ "ShardIterator": iterator, "Limit": limit })).await?;
            let records = response["Records"].as_array_mut().map(std::mem::take).context("The records of a stream")?;
            iterator = response["NextShardIterator"].take();
            let read = records.len();
            let arn = self.stream_arns().get(table).cloned();
            let completed = records.into_iter().filter_map(|mut record| {
                complete_record(&mut record, arn.as_deref());
                record["eventSourceARN"] = arn.as_deref().into();
                has_changed(&record).then_some(record)
            });
            all.extend(completed);
            if read < limit {
                break;
            }
        }
        Ok(all)
    }
}

/// Gives the engine's records an index. Without one, each write to a table with a stream looks at all of its records.
/// Tables in memory have none.
pub(super) fn index(file: &Path) -> rusqlite::Result<()> {
    let connection = rusqlite::Connection::open(file)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch(
        "CREATE INDEX IF NOT EXISTS samovar_stream_records
         ON _stream_records (table_name, CAST(sequence_number AS INTEGER))",
    )
}

/// The engine reads only the table's name.
fn arn_of(table: &str) -> String {
    format!("arn:aws:dynamodb:local:0:table/{table}/stream/1")
}

/// Completes the engine's answer to a call.
fn complete(operation: &str, response: &mut Value, arns: &Arns) {
    let describe = |description: &mut Value| {
        let table = description["TableName"].as_str().unwrap_or_default();
        if let Some(arn) = arns.get(table) {
            description["StreamArn"] = arn.as_str().into();
            description["StreamLabel"] = label(arn).into();
        }
    };
    match operation {
        "ListStreams" => response["Streams"].as_array_mut().into_iter().flatten().for_each(describe),
        "DescribeStream" => {
            let description = &mut response["StreamDescription"];
            describe(description);
            for shard in description["Shards"].as_array_mut().into_iter().flatten() {
                // Only a closed shard has an end.
                shard["SequenceNumberRange"].as_object_mut().map(|range| range.remove("EndingSequenceNumber"));
            }
        }
        "GetRecords" => {
            let arn = iterator_table(response["NextShardIterator"].as_str().unwrap_or_default());
            let arn = arn.and_then(|table| arns.get(&table));
            if let Some(records) = response["Records"].as_array_mut() {
                records.retain(has_changed);
                for record in records {
                    complete_record(record, arn.map(String::as_str));
                    // The API and the events of functions spell this in different ways.
                    if let Some(identity) = record.get_mut("userIdentity") {
                        *identity = json!({ "PrincipalId": identity["principalId"], "Type": identity["type"] });
                    }
                }
            }
        }
        _ => {}
    }
}

/// The last part of a stream's ARN.
fn label(arn: &str) -> &str {
    arn.rsplit_once("/stream/").map_or("", |(_, label)| label)
}

fn complete_record(record: &mut Value, arn: Option<&str>) {
    if let Some(region) = arn.and_then(|arn| arn.split(':').nth(3)) {
        record["awsRegion"] = region.into();
    }
    let change = &mut record["dynamodb"];
    let bytes: usize = ["Keys", "NewImage", "OldImage"].iter().map(|part| item_size(&change[*part])).sum();
    change["SizeBytes"] = bytes.into();
    if let Some(seconds) = change["ApproximateCreationDateTime"].as_f64() {
        change["ApproximateCreationDateTime"] = (seconds as i64).into();
    }
}

/// Whether a write has changed its item, as far as the record has both images.
fn has_changed(record: &Value) -> bool {
    let change = &record["dynamodb"];
    record["eventName"] != "MODIFY" || change["NewImage"].is_null() || change["NewImage"] != change["OldImage"]
}

fn item_size(item: &Value) -> usize {
    item.as_object().into_iter().flatten().map(|(name, value)| name.len() + value_size(value)).sum()
}

/// The size of an attribute's value.
fn value_size(value: &Value) -> usize {
    /// A list or a map, and each of its elements.
    const CONTAINER: usize = 3;
    const ELEMENT: usize = 1;
    let texts = |value: &Value, size: fn(&str) -> usize| -> usize {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(size).sum()
    };
    let Some((kind, value)) = value.as_object().and_then(|fields| fields.iter().next()) else { return 0 };
    let text = value.as_str().unwrap_or_default();
    match kind.as_str() {
        "S" => text.len(),
        "N" => number_size(text),
        "B" => binary_size(text),
        "SS" => texts(value, str::len),
        "NS" => texts(value, number_size),
        "BS" => texts(value, binary_size),
        "L" => {
            let elements = value.as_array().into_iter().flatten();
            CONTAINER + elements.map(|element| ELEMENT + value_size(element)).sum::<usize>()
        }
        "M" => {
            let count = value.as_object().map_or(0, serde_json::Map::len);
            CONTAINER + count * ELEMENT + item_size(value)
        }
        _ => 1,
    }
}

/// About one byte for two digits, and one more.
fn number_size(number: &str) -> usize {
    let digits = number.split(['e', 'E']).next().unwrap_or_default().bytes().filter(u8::is_ascii_digit);
    let digits: Vec<u8> = digits.skip_while(|digit| *digit == b'0').collect();
    let significant = digits.len() - digits.iter().rev().take_while(|digit| **digit == b'0').count();
    significant.div_ceil(2) + 1 + usize::from(number.starts_with('-'))
}

fn binary_size(encoded: &str) -> usize {
    STANDARD.decode(encoded).map_or(0, |bytes| bytes.len())
}

/// The table that an iterator of the engine reads.
fn iterator_table(iterator: &str) -> Option<String> {
    let decoded: Value = serde_json::from_slice(&STANDARD.decode(iterator).ok()?).ok()?;
    decoded["table_name"].as_str().map(str::to_owned)
}

/// What a call of the streams' API needs.
pub(crate) fn needs(operation: &str, body: &[u8], account: &Account, arns: &Arns) -> Vec<Need> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let Account { region, id } = account;
    let arn = |table: String| {
        let other = || format!("arn:aws:dynamodb:{region}:{id}:table/{table}/stream/*");
        arns.get(&table).cloned().unwrap_or_else(other)
    };
    let resource = match operation {
        "ListStreams" => Some("*".to_owned()),
        "GetRecords" => iterator_table(request["ShardIterator"].as_str().unwrap_or_default()).map(arn),
        // The ARN may be the engine's own, from the description of a table.
        _ => request["StreamArn"].as_str().and_then(|arn| arn.split('/').nth(1)).map(str::to_owned).map(arn),
    };
    resource.map(|resource| Need::new(format!("dynamodb:{operation}"), resource)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use samovar_template::Table;

    use super::*;

    const ARN: &str = "arn:aws:dynamodb:eu-central-1:000000000000:table/tab/stream/2000-01-01T00:00:00.000";

    async fn tables(view: &str) -> DynamoDb {
        let dynamodb = DynamoDb::open(None).unwrap();
        let create_table = json!({
            "TableName": "tab",
            "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
            "BillingMode": "PAY_PER_REQUEST",
            "StreamSpecification": { "StreamEnabled": true, "StreamViewType": view },
        });
        let table = Table {
            logical_id: "T".to_owned(),
            name: "tab".to_owned(),
            arn: "arn".to_owned(),
            stream_arn: ARN.to_owned(),
            create_table,
            ttl_attribute: Some("ttl".to_owned()),
        };
        dynamodb.create(&[table]).await.unwrap();
        dynamodb
    }

    async fn put(dynamodb: &DynamoDb, more: Value) {
        let mut item = json!({ "pk": { "S": "a" } });
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        dynamodb.expect("PutItem", &json!({ "TableName": "tab", "Item": item })).await.unwrap();
    }

    #[tokio::test]
    async fn each_change_gives_a_record_in_the_form_of_a_functions_event() {
        let dynamodb = tables("NEW_AND_OLD_IMAGES").await;
        assert_eq!(dynamodb.stream_end("tab").await.unwrap(), None);
        put(&dynamodb, json!({ "n": { "N": "101" } })).await;
        put(&dynamodb, json!({ "n": { "N": "101" } })).await;
        put(&dynamodb, json!({ "n": { "N": "102" } })).await;
        let delete = json!({ "TableName": "tab", "Key": { "pk": { "S": "a" } } });
        dynamodb.expect("DeleteItem", &delete).await.unwrap();
        dynamodb.expect("DeleteItem", &delete).await.unwrap();
        let records = dynamodb.stream_records("tab", None, 10).await.unwrap();
        let names: Vec<_> = records.iter().map(|record| record["eventName"].as_str().unwrap()).collect();
        assert_eq!(names, ["INSERT", "MODIFY", "REMOVE"], "a write that changes nothing gives none");
        let modified = &records[1];
        assert_eq!(modified["eventID"].as_str().unwrap().len(), 32);
        let (number, time) =
            (&modified["dynamodb"]["SequenceNumber"], &modified["dynamodb"]["ApproximateCreationDateTime"]);
        assert!(time.as_i64().is_some_and(|seconds| seconds > 1_700_000_000), "{time}");
        let expected = json!({
            "eventID": modified["eventID"],
            "eventName": "MODIFY",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "eventSourceARN": ARN,
            "awsRegion": "eu-central-1",
            "dynamodb": {
                "Keys": { "pk": { "S": "a" } },
                "OldImage": { "pk": { "S": "a" }, "n": { "N": "101" } },
                "NewImage": { "pk": { "S": "a" }, "n": { "N": "102" } },
                "SequenceNumber": number,
                "SizeBytes": 3 + 7 + 7,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
                "ApproximateCreationDateTime": time,
            },
        });
        assert_eq!(*modified, expected);
        let after = dynamodb.stream_records("tab", number.as_str(), 10).await.unwrap();
        assert_eq!(after, records[2..]);
        assert_eq!(dynamodb.stream_records("tab", None, 1).await.unwrap(), records[..1]);
        let last = records[2]["dynamodb"]["SequenceNumber"].as_str().map(str::to_owned);
        assert_eq!(dynamodb.stream_end("tab").await.unwrap(), last);
    }

    #[tokio::test]
    async fn records_have_the_images_of_the_view() {
        for (view, images) in [("KEYS_ONLY", vec![]), ("NEW_IMAGE", vec!["NewImage"]), ("OLD_IMAGE", vec!["OldImage"])]
        {
            let dynamodb = tables(view).await;
            put(&dynamodb, json!({})).await;
            put(&dynamodb, json!({ "n": { "N": "1" } })).await;
            let records = dynamodb.stream_records("tab", None, 10).await.unwrap();
            let change = records[1]["dynamodb"].as_object().unwrap();
            let found: Vec<_> = change.keys().filter(|name| name.ends_with("Image")).collect();
            assert_eq!(found, images);
            assert_eq!(change["StreamViewType"], view);
        }
    }

    #[tokio::test]
    async fn a_deletion_by_time_to_live_is_the_services() {
        let dynamodb = tables("KEYS_ONLY").await;
        put(&dynamodb, json!({ "ttl": { "N": "1" } })).await;
        dynamodb.sweep_now().await.unwrap();
        let records = dynamodb.stream_records("tab", None, 10).await.unwrap();
        assert_eq!(records[1]["eventName"], "REMOVE");
        assert_eq!(records[1]["userIdentity"], json!({ "type": "Service", "principalId": "dynamodb.amazonaws.com" }));
        let iterator = json!({ "StreamArn": ARN, "ShardId": shard_id("tab"), "ShardIteratorType": "TRIM_HORIZON" });
        let iterator = call(&dynamodb, "GetShardIterator", iterator).await;
        let answer = call(&dynamodb, "GetRecords", iterator.clone()).await;
        let identity = &answer["Records"][1]["userIdentity"];
        assert_eq!(*identity, json!({ "Type": "Service", "PrincipalId": "dynamodb.amazonaws.com" }));
        assert_eq!(answer["Records"][1]["awsRegion"], "eu-central-1");
        let account = Account { region: "eu-central-1".to_owned(), id: "000000000000".to_owned() };
        let needed = needs("GetRecords", iterator.to_string().as_bytes(), &account, dynamodb.stream_arns());
        assert_eq!(needed, [Need::new("dynamodb:GetRecords", ARN.to_owned())]);
    }

    async fn call(dynamodb: &DynamoDb, operation: &str, request: Value) -> Value {
        let answer = dynamodb.streams_call(operation, request.to_string().into()).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap()
    }

    #[tokio::test]
    async fn the_api_knows_the_stream_by_the_templates_arn() {
        let dynamodb = tables("KEYS_ONLY").await;
        put(&dynamodb, json!({})).await;
        let listed = call(&dynamodb, "ListStreams", json!({ "TableName": "tab" })).await;
        let label = "2000-01-01T00:00:00.000";
        assert_eq!(listed["Streams"], json!([{ "StreamArn": ARN, "TableName": "tab", "StreamLabel": label }]));
        let described = call(&dynamodb, "DescribeStream", json!({ "StreamArn": ARN })).await;
        let description = &described["StreamDescription"];
        assert_eq!((&description["StreamArn"], &description["StreamLabel"]), (&json!(ARN), &json!(label)));
        let range = description["Shards"][0]["SequenceNumberRange"].as_object().unwrap();
        assert_eq!(range.keys().collect::<Vec<_>>(), ["StartingSequenceNumber"], "the shard is open");
        let answer = dynamodb.streams_call("PutItem", Bytes::from_static(b"{}")).await;
        assert_eq!(answer.status, 400);
        assert!(String::from_utf8_lossy(&answer.body).contains("UnknownOperationException"));
    }

    #[tokio::test]
    async fn a_table_that_was_there_without_a_stream_gets_one() {
        let dynamodb = tables("KEYS_ONLY").await;
        let stream = |view: &str| json!({ "StreamEnabled": true, "StreamViewType": view });
        let mut table = Table {
            logical_id: "T".to_owned(),
            name: "other".to_owned(),
            arn: "arn".to_owned(),
            stream_arn: ARN.to_owned(),
            create_table: json!({
                "TableName": "other",
                "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
                "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
                "BillingMode": "PAY_PER_REQUEST",
            }),
            ttl_attribute: None,
        };
        dynamodb.create(&[table.clone()]).await.unwrap();
        dynamodb.stream_end("other").await.expect_err("no stream");
        table.create_table["StreamSpecification"] = stream("NEW_IMAGE");
        dynamodb.create(&[table.clone()]).await.unwrap();
        dynamodb.stream_end("other").await.expect("a stream");
        table.create_table["StreamSpecification"] = stream("KEYS_ONLY");
        dynamodb.create(&[table.clone()]).await.unwrap();
        let described = dynamodb.expect("DescribeStream", &json!({ "StreamArn": arn_of("other") })).await.unwrap();
        assert_eq!(described["StreamDescription"]["StreamViewType"], "KEYS_ONLY");
    }

    #[test]
    fn the_engines_queries_use_the_index() {
        let dir = tempfile::tempdir().unwrap();
        let _engine = DynamoDb::open(Some(dir.path())).unwrap();
        let connection = rusqlite::Connection::open(dir.path().join("dynamodb.sqlite")).unwrap();
        let number = "CAST(sequence_number AS INTEGER)";
        for query in [
            format!("SELECT COALESCE(MAX({number}), 0) + 1 FROM _stream_records WHERE table_name = 'tab'"),
            format!(
                "SELECT keys_json FROM _stream_records WHERE table_name = 'tab' AND shard_id = 's' AND {number} > 5 \
                 ORDER BY {number} ASC LIMIT 10"
            ),
        ] {
            let plan = |row: &rusqlite::Row<'_>| row.get::<_, String>(3);
            let plan = connection.query_row(&format!("EXPLAIN QUERY PLAN {query}"), [], plan).unwrap();
            assert!(plan.contains("samovar_stream_records"), "{query}: {plan}");
        }
    }

    #[test]
    fn sizes_follow_the_developer_guide() {
        for (value, bytes) in [
            (json!({ "S": "häh" }), 4),
            (json!({ "N": "0" }), 1),
            (json!({ "N": "27" }), 2),
            (json!({ "N": "-27" }), 3),
            (json!({ "N": "1500.50" }), 4),
            (json!({ "B": "YWJj" }), 3),
            (json!({ "BOOL": true }), 1),
            (json!({ "NULL": true }), 1),
            (json!({ "SS": ["a", "bc"] }), 3),
            (json!({ "NS": ["1", "22"] }), 4),
            (json!({ "BS": ["YQ=="] }), 1),
            (json!({ "L": [{ "S": "ab" }, { "N": "1" }] }), 3 + 3 + 3),
            (json!({ "M": { "k": { "S": "ab" } } }), 3 + 1 + 3),
        ] {
            assert_eq!(value_size(&value), bytes, "{value}");
        }
    }
}
