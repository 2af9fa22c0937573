//! Keeps the time at which a worker last gave a sign of life. It is in the table of the messages, where workers may
//! write.

use super::Messages;
use crate::clock::Timestamp;
use crate::dynamo::{Attributes, Item, text, time};
use crate::{Error, Result};

const KEY: &str = "workers";

impl Messages {
    /// Notes that a worker lives.
    pub(crate) async fn note_worker(&self, now: Timestamp) -> Result<()> {
        let item =
            Item::from([("pk".to_owned(), text(KEY)), ("sk".to_owned(), text(KEY)), ("seen_at".to_owned(), time(now))]);
        let put = self.db.put_item().table_name(&self.config.table).set_item(Some(item));
        put.send().await.map_err(|error| Error::service("PutItem", &error))?;
        Ok(())
    }

    /// The time of the last sign of life, if there ever was one.
    pub(crate) async fn worker_seen(&self) -> Result<Option<Timestamp>> {
        let item = self.get(KEY.to_owned(), KEY.to_owned()).await?;
        item.as_ref().map(|item| Attributes(item).time("seen_at")).transpose()
    }
}
