//! `examples/broadcast-chat`.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::harness::{Example, there_is_python, within};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

const TABLE: &str = "local-Connections";

#[tokio::test]
async fn a_chat_in_python_broadcasts_to_all_and_forgets_those_that_are_gone() {
    if !there_is_python() {
        return;
    }
    let example = Example::start("broadcast-chat");
    let (mut ada, mut bob) = (connect(&example).await, connect(&example).await);
    assert_eq!(connections(&example).await.len(), 2);

    say(&mut ada, "hello").await;
    assert_eq!((heard(&mut ada).await, heard(&mut bob).await), ("hello".to_owned(), "hello".to_owned()));

    // A client that is gone without a $disconnect.
    let item = json!({ "connectionId": { "S": "AAAAAAAAAAAAAAA=" } });
    dynamodb(&example, "PutItem", json!({ "TableName": TABLE, "Item": item })).await;
    assert_eq!(connections(&example).await.len(), 3);
    say(&mut bob, "again").await;
    assert_eq!((heard(&mut ada).await, heard(&mut bob).await), ("again".to_owned(), "again".to_owned()));

    bob.close(None).await.unwrap();
    within("The chat forgets the client that is gone and the one that has left", async {
        while connections(&example).await.len() != 1 {}
    })
    .await;
    say(&mut ada, "alone").await;
    assert_eq!(heard(&mut ada).await, "alone");
    let log = example.stop();
    assert!(!log.contains("ERROR") && !log.contains("Traceback"), "{log}");
}

async fn connect(example: &Example) -> Client {
    let url = format!("{}/chat", example.url.replacen("http", "ws", 1));
    within("The handshake ends", connect_async(url)).await.unwrap().0
}

async fn say(client: &mut Client, text: &str) {
    client.send(Message::text(json!({ "action": "sendmessage", "data": text }).to_string())).await.unwrap();
}

async fn heard(client: &mut Client) -> String {
    within("A message comes", client.next()).await.unwrap().unwrap().into_text().unwrap().to_string()
}

/// The items of the table.
async fn connections(example: &Example) -> Vec<Value> {
    let found = dynamodb(example, "Scan", json!({ "TableName": TABLE })).await;
    found["Items"].as_array().unwrap().clone()
}

async fn dynamodb(example: &Example, operation: &str, request: Value) -> Value {
    let client = reqwest::Client::new();
    let target = format!("DynamoDB_20120810.{operation}");
    let request = client.post(format!("{}/_aws", example.url)).header("x-amz-target", target).body(request.to_string());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}
