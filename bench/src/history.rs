//! Fills the tables with messages and answers of users who are not connected, as they are after a day.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::target::Target;

/// Messages with their answers in each conversation.
const IN_A_CONVERSATION: u32 = 50;

/// The most items that DynamoDB takes at once.
const BATCH: usize = 25;

const WRITERS: usize = 8;

/// Writes this many messages, each with its answer and with the item that its id names.
pub(crate) async fn fill(target: &Target, messages: u32) -> Result<()> {
    if messages == 0 {
        return Ok(());
    }
    let text = target.http.get(format!("{}/_local/environment", target.url)).send().await?.text().await?;
    let variable = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(str::to_owned).with_context(|| format!("{name} is in the stack's environment"))
    };
    let (url, table) = (variable("AWS_ENDPOINT_URL_DYNAMODB")?, variable("CHAT_TABLE")?);
    let (next, conversations) = (Arc::new(AtomicU32::new(0)), messages.div_ceil(IN_A_CONVERSATION));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (next, url, table, http) = (Arc::clone(&next), url.clone(), table.clone(), target.http.clone());
        writers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= conversations {
                    return anyhow::Ok(());
                }
                if number % 1000 == 999 {
                    eprintln!("history: {} of {messages} messages", (number + 1) * IN_A_CONVERSATION);
                }
                for batch in conversation().chunks(BATCH) {
                    let requests: Vec<_> = batch.iter().map(|item| json!({ "PutRequest": { "Item": item } })).collect();
                    let request = http
                        .post(&url)
                        .header("x-amz-target", "DynamoDB_20120810.BatchWriteItem")
                        .body(json!({ "RequestItems": { &table: requests } }).to_string());
                    let answer = request.send().await?;
                    ensure!(answer.status().is_success(), "History can't be written: {}", answer.text().await?);
                }
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    Ok(())
}

/// The items of a conversation, as Parley stores them.
fn conversation() -> Vec<Value> {
    let (user, id, at) = (e2e::new_id(), e2e::new_id(), "1795910400000");
    let text = |text: &str| json!({ "S": text });
    let number = |number: u32| json!({ "N": number.to_string() });
    let (owner, log) = (format!("user#{user}"), format!("conv#{id}"));
    let mut items = vec![json!({
        "pk": text(&owner), "sk": text(&log), "id": text(&id), "title": text("New conversation"),
        "created_at": { "N": at }, "updated_at": { "N": at }, "last_seq": number(2 * IN_A_CONVERSATION),
    })];
    for message in 0..IN_A_CONVERSATION {
        let (id_of, seq) = (e2e::new_id(), 2 * message + 1);
        items.push(json!({
            "pk": text(&owner), "sk": text(&format!("msg#{id_of}")), "conversation_id": text(&id), "seq": number(seq),
        }));
        for (role, seq) in [("user", seq), ("assistant", seq + 1)] {
            items.push(json!({
                "pk": text(&log), "sk": text(&format!("{seq:012}")), "id": text(&format!("{id_of}-{role}")),
                "conversation_id": text(&id), "user_id": text(&user), "seq": number(seq), "role": text(role),
                "status": text("done"), "created_at": { "N": at }, "parent_seq": number(seq - 1),
                "text": text("Some words of a message, about as many as people write to a model in a chat."),
            }));
        }
    }
    items
}
