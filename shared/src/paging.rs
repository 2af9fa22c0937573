//! Pages of a list, and the cursors that lead from one to the next.
//!
//! A cursor says where a list goes on, and which list of which user it belongs to. It is opaque and not secret: the
//! user who asks decides what is read, and the cursor never does. So a forged cursor can at most skip items in its own
//! user's list. A cursor of another list or of another user is refused, because it can only be a mistake.
//!
//! A page ends at its limit of items, or before the item that would take it above [`MAX_BYTES`]. The reason: a
//! function's answer is JSON that Lambda takes as a text within JSON, of 6 MB at most, and `wire_bytes` counts items in
//! that form. A page has at least one item, so a client that follows the cursors reaches the end. One item is far
//! smaller than a page, because the table accepts none above 400 KB.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::query::QueryError;
use aws_smithy_async::future::pagination_stream::PaginationStream;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::dynamo::Item;
use crate::ids::UserId;
use crate::{Error, Result};

/// The most bytes of a page as it is answered. It leaves room in Lambda's 6 MB for headers, and for parts of items that
/// the count leaves out.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Some items of a list.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The cursor of the next page. The last page has none.
    pub next: Option<String>,
}

/// How many items a page may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(u8);

impl Limit {
    pub const DEFAULT: Self = Self(20);
    pub const MOST: u8 = 100;

    /// # Errors
    /// When it is not 1 to 100.
    pub fn new(limit: u32) -> Result<Self> {
        match u8::try_from(limit) {
            Ok(limit @ 1..=Self::MOST) => Ok(Self(limit)),
            _ => Err(Error::invalid("limit", format!("must be 1 to {}", Self::MOST))),
        }
    }

    pub(crate) fn get(self) -> usize {
        usize::from(self.0)
    }

    /// How many items to ask the table for: one more than the page has, to know whether there is another page.
    pub(crate) fn in_query(self) -> i32 {
        i32::from(self.0) + 1
    }

    /// Makes a page of a query's results. `bytes` gives the size of an item.
    pub(crate) async fn page_of<T>(
        self,
        mut items: PaginationStream<std::result::Result<Item, SdkError<QueryError>>>,
        read: impl Fn(&Item) -> Result<T>,
        bytes: impl Fn(&T) -> usize,
    ) -> Result<(Vec<T>, bool)> {
        let mut page = Vec::new();
        let mut size = 0;
        while let Some(item) = items.next().await {
            let item = read(&item.map_err(|error| Error::service("Query", &error))?)?;
            size += bytes(&item);
            if page.len() == self.get() || (size > MAX_BYTES && !page.is_empty()) {
                return Ok((page, true));
            }
            page.push(item);
        }
        Ok((page, false))
    }
}

/// The size of a text within JSON within JSON.
pub(crate) fn wire_bytes(text: &str) -> usize {
    let bytes = |char: char| match char {
        '"' | '\\' => 4,
        '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 3,
        char if char < ' ' => 7,
        char => char.len_utf8(),
    };
    text.chars().map(bytes).sum()
}

/// A list of one user.
#[derive(Debug, Clone)]
pub(crate) struct List {
    /// A digest of list and user. It is too short to reveal them, and long enough that no two lists share one.
    tag: String,
}

#[derive(Serialize, Deserialize)]
struct Wire<T> {
    list: String,
    at: T,
}

impl List {
    pub(crate) fn of(user: &UserId, name: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(user.as_str());
        digest.update([0]);
        digest.update(name);
        Self { tag: URL_SAFE_NO_PAD.encode(&digest.finalize()[..9]) }
    }

    pub(crate) fn cursor(&self, at: impl Serialize) -> String {
        let wire = Wire { list: self.tag.clone(), at };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).expect("a position has only string keys and plain values"))
    }

    /// Where the cursor leads.
    ///
    /// # Errors
    ///
    /// When it is not a cursor, or belongs to another list.
    pub(crate) fn position<T: DeserializeOwned>(&self, cursor: &str) -> Result<T> {
        let wire: Option<Wire<T>> =
            URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|json| serde_json::from_slice(&json).ok());
        match wire {
            Some(wire) if wire.list == self.tag => Ok(wire.at),
            _ => Err(Self::no_position()),
        }
    }

    /// The error for a cursor that names no place in its list, because its owner has changed it.
    pub(crate) fn no_position() -> Error {
        Error::bad_request("This cursor does not belong to this list; begin again without a cursor")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::user;

    #[test]
    fn a_text_is_counted_as_it_is_within_json_within_json() {
        let twice = |text: &str| serde_json::Value::from(serde_json::Value::from(text).to_string()).to_string();
        let around = twice("").len();
        let all: String = (0..0x250).filter_map(char::from_u32).collect();
        for text in ["", "a", "\"", "\\", "a\nb", "🙂é", all.as_str()] {
            assert_eq!(wire_bytes(text), twice(text).len() - around, "{text:?}");
        }
    }

    #[test]
    fn a_cursor_leads_to_its_place_in_its_list_of_its_user_only() {
        let list = List::of(&user("alice"), "conversations");
        let cursor = list.cursor(42);
        assert_eq!(list.position::<u32>(&cursor).expect("its own"), 42);
        assert!(List::of(&user("bob"), "conversations").position::<u32>(&cursor).is_err());
        assert!(List::of(&user("alice"), "messages").position::<u32>(&cursor).is_err());
        // Names of users and lists can't run into each other.
        assert!(List::of(&user("alicecon"), "versations").position::<u32>(&cursor).is_err());
        assert!(list.position::<String>(&cursor).is_err());
        for bad in ["", "x", "!!!", "bm9uc2Vuc2U", &cursor[1..]] {
            assert!(list.position::<u32>(bad).is_err(), "{bad}");
        }
    }
}
