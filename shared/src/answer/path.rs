//! The text that the model gets: the message to answer, and above it the items that it follows, up to the beginning or
//! to the end of the budget. Nothing beside that path is in it, whatever else the conversation has.
//!
//! A path goes from turn to turn. A parent that is an answer stands for its message with all of its answers. So does a
//! message that had no answer yet when it became a parent, because it is answered before the messages that follow it. A
//! message that was never answered is left out, and the path goes on above it.

use super::{Answerer, context};
use crate::Result;
use crate::messages::{Log, StoredMessage};
use crate::model::{Shown, Turn};

impl Answerer {
    /// The turns that lead to `message`, the oldest first, and then the message itself.
    pub(super) async fn path(&self, log: &mut Log, message: &StoredMessage) -> Result<Vec<Turn>> {
        let mut turns = vec![self.turn(message).await?];
        let mut tokens = context::tokens(&turns[0]);
        let (mut at, mut looked_at) = (message.follows(), 1);
        while at > 0 && looked_at < self.context.messages && tokens < self.context.tokens {
            // The item is gone, because its conversation is being deleted.
            let Some(said) = log.said_at(at).await? else { break };
            at = said.message.follows();
            looked_at += 1 + said.answers.len();
            if said.answers.is_empty() {
                continue;
            }
            for item in said.answers.iter().rev().chain([&said.message]) {
                let turn = self.turn(item).await?;
                tokens += context::tokens(&turn);
                turns.push(turn);
            }
        }
        turns.reverse();
        Ok(context::within(self.context.tokens, &turns))
    }

    async fn turn(&self, message: &StoredMessage) -> Result<Turn> {
        let media = match &message.media {
            Some(attachment) => {
                let url = self.media.link(&message.user, &attachment.key).await?;
                attachment.kind().map(|kind| Shown { kind, url })
            }
            None => None,
        };
        Ok(Turn { role: message.role, text: message.text.clone(), media })
    }
}
