//! Arbitrary frames. Each is read correctly or refused with a code of the contract.

use proptest::prelude::*;
use serde_json::json;

use super::{id_of, parse_cancel, parse_send_message};
use crate::ids::{ConversationId, MediaKey, MessageId, SessionId};
use crate::leases::Handshake;
use crate::testing::{config, words};

const MAX_TEXT_BYTES: usize = 64;

/// The codes of errors that a frame alone can cause.
const CODES: [&str; 4] = ["bad_request", "too_large", "conversation_not_found", "media_not_found"];

fn frame_text() -> impl Strategy<Value = String> {
    words(&[
        "{",
        "}",
        "[",
        "[[[[[[[[",
        "]",
        ",",
        ":",
        "null",
        "7",
        "1e999",
        "\"",
        "\\u0000",
        "\\ud800",
        "\"id\":",
        "\"6f9619ff-8b86-4011-b42d-00c04fc964ff\"",
        "\"conversationId\":\"c\"",
        "\"text\":\"x\"",
        "\"media\":",
        "\"parentId\":\"\"",
        "\"action\":\"sendMessage\"",
    ])
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_frame_is_read_or_refused_with_a_code_of_the_contract(text in frame_text()) {
        match parse_send_message(&text, MAX_TEXT_BYTES) {
            Ok(draft) => {
                prop_assert!(draft.text.len() <= MAX_TEXT_BYTES);
                prop_assert_eq!(id_of(&text), Some(draft.id));
            }
            Err((id, error)) => {
                prop_assert!(CODES.contains(&error.code()), "{}", error);
                prop_assert_eq!(id_of(&text), id);
            }
        }
        if let Ok(id) = parse_cancel(&text) {
            prop_assert_eq!(id_of(&text), Some(id));
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_written(
        id in any::<u128>(),
        conversation in "[A-Za-z0-9_-]{1,64}",
        text in "\\PC{1,16}",
        others in proptest::collection::btree_map("[a-z]{9,12}", any::<String>(), 0..4),
    ) {
        let id = uuid::Uuid::from_u128(id).to_string();
        let mut frame = json!(others);
        frame["id"] = json!(id);
        frame["conversationId"] = json!(conversation);
        frame["text"] = json!(text);
        let draft = parse_send_message(&frame.to_string(), MAX_TEXT_BYTES).expect("a message");
        prop_assert_eq!(draft.id.as_str(), id);
        prop_assert_eq!((draft.conversation.as_str(), draft.text), (conversation.as_str(), text));
    }

    /// Ids become parts of keys, addresses and headers.
    #[test]
    fn ids_consist_of_plain_characters_or_are_refused(text in words(&[
        "6f9619ff-8b86-4011-b42d-00c04fc964ff", "-0", ".png", "a", "_", "/", "..", "#", "%2e", "\r\n", "\0", " ",
    ])) {
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if let Ok(key) = MediaKey::parse(&text) {
            prop_assert!(plain(key.as_str()) && !key.as_str().contains(".."), "{}", text);
        }
        if let Ok(id) = ConversationId::parse(&text) {
            prop_assert!(plain(id.as_str()), "{}", text);
        }
        if let Some(id) = MessageId::parse_any(&text) {
            prop_assert!(plain(id.as_str()), "{}", text);
        }
        if let Ok(session) = SessionId::parse(&text) {
            prop_assert!(plain(session.as_str()), "{}", text);
        }
        let handshake = Handshake::parse(Some(&text), Some(&text));
        prop_assert!(handshake.is_err() || text == "true" || text == "false", "{}", text);
    }
}
