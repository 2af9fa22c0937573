//! Arbitrary calls of DynamoDB's protocol. Each gets a result or an error, and the engine goes on.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::dynamodb::DynamoDb;

const OPERATIONS: [&str; 19] = [
    "BatchGetItem",
    "BatchWriteItem",
    "CreateTable",
    "DeleteItem",
    "DescribeTable",
    "DescribeTimeToLive",
    "GetItem",
    "ListTables",
    "PutItem",
    "Query",
    "Scan",
    "TransactGetItems",
    "TransactWriteItems",
    "UpdateItem",
    "UpdateTable",
    "UpdateTimeToLive",
    "DeleteTable",
    "",
    "Nothing",
];

const MEMBERS: [&str; 21] = [
    "TableName",
    "Key",
    "Item",
    "KeySchema",
    "AttributeDefinitions",
    "BillingMode",
    "KeyConditionExpression",
    "FilterExpression",
    "ConditionExpression",
    "UpdateExpression",
    "ProjectionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ExclusiveStartKey",
    "IndexName",
    "Limit",
    "RequestItems",
    "TransactItems",
    "PutRequest",
    "ClientRequestToken",
    "ReturnValues",
];

const TEXTS: [&str; 22] = [
    "tab",
    "pk",
    "pk = :a",
    "#a = :a AND begins_with(sk, :b)",
    "SET a = :a, b.c[7] = if_not_exists(b, :b) + :a",
    "REMOVE a, b[99999999999999999999]",
    "ADD a :a DELETE b :b",
    "attribute_not_exists(pk) OR NOT (a IN (:a, :b))",
    "((((((((((((((((a))))))))))))))))",
    "NOT NOT NOT NOT NOT NOT NOT NOT a",
    "size(a) BETWEEN :a AND :b",
    ":a",
    "#a",
    "1e126",
    "-9.9999999999999999999999999999999999999E+125",
    "NaN",
    "AAAA",
    "====",
    "ALL_OLD",
    "\u{0}",
    "",
    "a.b.c.d.e.f",
];

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

fn value() -> impl Strategy<Value = Value> {
    let text =
        || prop_oneof![4 => proptest::sample::select(TEXTS.as_slice()).prop_map(str::to_owned), 1 => any::<String>()];
    let attribute = (proptest::sample::select(vec!["S", "N", "B", "BOOL", "NULL", "SS", "NS"]), text())
        .prop_map(|(kind, text)| json!({ kind: text }));
    let leaf = prop_oneof![
        2 => attribute,
        2 => text().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(5, 32, 4, |inside| {
        let name = prop_oneof![
            proptest::sample::select(MEMBERS.as_slice()).prop_map(str::to_owned),
            proptest::sample::select(TEXTS.as_slice()).prop_map(str::to_owned),
            proptest::sample::select(vec!["M", "L", "tab", "pk", "Put", "Update", "Keys"]).prop_map(str::to_owned),
        ];
        prop_oneof![
            proptest::collection::vec(inside.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name, inside, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let members = proptest::collection::btree_map(proptest::sample::select(MEMBERS.as_slice()), value(), 0..7);
    let call = (members, any::<bool>()).prop_map(|(mut call, named)| {
        if named {
            call.insert("TableName", json!("tab"));
            call.entry("Key").or_insert_with(|| json!({ "pk": { "S": "a" } }));
            call.entry("Item").or_insert_with(|| json!({ "pk": { "S": "a" }, "b": { "L": [{ "N": "7" }] } }));
        }
        json!(call).to_string().into_bytes()
    });
    prop_oneof![8 => call, 1 => proptest::collection::vec(any::<u8>(), 0..64)]
}

fn table() -> Value {
    json!({
        "TableName": "tab",
        "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
        "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
        "BillingMode": "PAY_PER_REQUEST",
    })
}

#[test]
fn any_call_has_a_result_or_an_error_of_the_protocol() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let tables = DynamoDb::open(None).expect("tables");
    let calls = (proptest::sample::select(OPERATIONS.as_slice()), body());
    let tested = TestRunner::new(config()).run(&calls, |(operation, body)| {
        // An earlier call may have deleted the table, so it is made again.
        runtime.block_on(tables.call("CreateTable", table().to_string().into()));
        let answer = runtime.block_on(tables.call(operation, body.into()));
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        prop_assert!(said.is_object(), "{}: {}", operation, said);
        prop_assert!(answer.status == 200 || (400..500).contains(&answer.status), "{}: {}", operation, said);
        prop_assert!(answer.status == 200 || said["__type"].is_string(), "{}: {}", operation, said);
        Ok(())
    });
    tested.expect("all are answered");
}

#[tokio::test]
async fn a_call_that_is_nested_deep_is_an_error_and_the_engine_goes_on() {
    let tables = DynamoDb::open(None).expect("tables");
    tables.expect("CreateTable", &table()).await.expect("a table");
    let deep = 1_000_000;
    for expression in ["(".repeat(deep), "NOT ".repeat(deep), "a.".repeat(deep), "a[0]".repeat(deep), "-".repeat(deep)]
    {
        for member in [
            "KeyConditionExpression",
            "FilterExpression",
            "ConditionExpression",
            "UpdateExpression",
            "ProjectionExpression",
        ] {
            for operation in ["Query", "Scan", "UpdateItem", "PutItem"] {
                for length in [300, 4096, expression.len()] {
                    let call = json!({
                        "TableName": "tab", "Key": { "pk": { "S": "a" } }, "Item": { "pk": { "S": "a" } },
                        member: expression[..length],
                    });
                    let answer = tables.call(operation, call.to_string().into()).await;
                    assert!(answer.status < 500, "{operation} {member}: {}", String::from_utf8_lossy(&answer.body));
                }
            }
        }
    }
    for body in ["[".repeat(deep), "{\"M\":".repeat(deep), format!("{{\"Item\":{}", "{\"L\":[".repeat(deep))] {
        for operation in OPERATIONS {
            let answer = tables.call(operation, body.clone().into()).await;
            assert!((400..500).contains(&answer.status), "{operation}: {}", String::from_utf8_lossy(&answer.body));
        }
    }
    // A text may have as many parentheses as it likes.
    tables
        .expect("PutItem", &json!({ "TableName": "tab", "Item": { "pk": { "S": "(".repeat(1000) } } }))
        .await
        .expect("it goes on");
}
