//! Reads the frames that clients send, and says what is wrong with them.

use serde_json::{Map, Value};

use crate::ids::{ConversationId, MediaKey, MessageId};
use crate::messages::{Draft, Follows};
use crate::{Error, Result};

/// Reads a `sendMessage` frame. The error carries the id, if the frame had a usable one.
pub fn parse_send_message(body: &str, max_text_bytes: usize) -> Result<Draft, (Option<MessageId>, Error)> {
    let frame = parse_object(body).map_err(|error| (None, error))?;
    let id = frame_id(&frame);
    draft(&frame, max_text_bytes).map_err(|error| (id, error))
}

/// Reads a `cancel` frame: the id of the message whose answer the client does not want any more.
pub fn parse_cancel(body: &str) -> Result<MessageId> {
    let frame = parse_object(body)?;
    MessageId::parse(string(&frame, "id")?.ok_or_else(|| Error::bad_request("id is missing"))?)
}

/// The id for the answer to this frame, whatever else is wrong with the frame.
pub fn id_of(body: &str) -> Option<MessageId> {
    parse_object(body).ok().as_ref().and_then(frame_id)
}

/// The error for a frame that no route takes: it can't be read, or it has no known action.
pub fn unroutable(body: &str) -> (Option<MessageId>, Error) {
    match read(body) {
        Ok(frame) => (frame.as_object().and_then(frame_id), Error::UnknownAction),
        Err(error) => (None, error),
    }
}

fn frame_id(frame: &Map<String, Value>) -> Option<MessageId> {
    frame.get("id").and_then(Value::as_str).and_then(|id| MessageId::parse(id).ok())
}

fn parse_object(body: &str) -> Result<Map<String, Value>> {
    match read(body)? {
        Value::Object(frame) => Ok(frame),
        _ => Err(Error::bad_request("A frame must be one JSON object")),
    }
}

/// The parser says where it stopped and why, in words that have nothing of the frame.
fn read(body: &str) -> Result<Value> {
    serde_json::from_str(body).map_err(|error| Error::bad_request(format!("The frame can't be read as JSON: {error}")))
}

fn draft(frame: &Map<String, Value>, max_text_bytes: usize) -> Result<Draft> {
    let id = MessageId::parse(string(frame, "id")?.ok_or_else(|| Error::bad_request("id is missing"))?)?;
    let conversation =
        string(frame, "conversationId")?.ok_or_else(|| Error::bad_request("conversationId is missing"))?;
    let text = string(frame, "text")?.unwrap_or_default();
    let media = string(frame, "media")?;
    let follows = Follows::parse(string(frame, "parentId")?);
    if text.len() > max_text_bytes {
        return Err(Error::TextTooLarge { actual_bytes: text.len(), limit_bytes: max_text_bytes });
    }
    if text.is_empty() && media.is_none() {
        return Err(Error::bad_request("text or media is missing"));
    }
    let media = media.map(MediaKey::parse).transpose()?;
    Ok(Draft { id, conversation: ConversationId::parse(conversation)?, text: text.to_owned(), media, follows })
}

/// `null` counts as absent.
fn string<'a>(frame: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>> {
    match frame.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::bad_request(format!("{name} must be a string"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6f9619ff-8b86-4011-b42d-00c04fc964ff";

    #[test]
    fn an_error_says_what_is_wrong_with_a_frame_and_carries_its_id() {
        let refuse = |body: &str| parse_send_message(body, 10).expect_err(body);
        let frame = |rest: &str| format!(r#"{{"action":"sendMessage","id":"{ID}",{rest}}}"#);
        for (body, code, has_id) in [
            ("nonsense".to_owned(), "bad_request", false),
            ("[]".to_owned(), "bad_request", false),
            (r#"{"conversationId":"c","text":"x"}"#.to_owned(), "bad_request", false),
            (r#"{"id":"no uuid","conversationId":"c","text":"x"}"#.to_owned(), "bad_request", false),
            (r#"{"id":7,"conversationId":"c","text":"x"}"#.to_owned(), "bad_request", false),
            (frame(r#""text":"x""#), "bad_request", true),
            (frame(r#""conversationId":7,"text":"x""#), "bad_request", true),
            (frame(r#""conversationId":"c""#), "bad_request", true),
            (frame(r#""conversationId":"c","text":"""#), "bad_request", true),
            (frame(r#""conversationId":"c","text":["x"]"#), "bad_request", true),
            (frame(r#""conversationId":"c","text":"x","parentId":7"#), "bad_request", true),
            (frame(r#""conversationId":"c","text":"12345678901""#), "too_large", true),
            (frame(r#""conversationId":"c","media":"nothing""#), "media_not_found", true),
            (frame(r#""conversationId":"no such one!","text":"x""#), "conversation_not_found", true),
        ] {
            let (id, error) = refuse(&body);
            assert_eq!((error.code(), id.is_some()), (code, has_id), "{body}: {error}");
        }
    }

    #[test]
    fn a_frame_that_is_not_json_is_a_bad_request_that_says_where_and_other_json_an_unknown_action() {
        let surrogate = r#"{"action":"sendMessage","text":"\ud83d"}"#;
        for (body, place) in [
            ("", "line 1 column 0"),
            ("not json", "line 1 column 2"),
            ("{\n \"action\": dance}", "line 2 column 12"),
            (r#"{"action":"heartbeat"} {}"#, "line 1 column 24"),
            (surrogate, "line 1 column 39"),
        ] {
            let (id, error) = unroutable(body);
            assert_eq!((id, error.code()), (None, "bad_request"), "{body}");
            let text = error.public_message();
            assert!(text.starts_with("The frame can't be read as JSON: ") && text.ends_with(place), "{body}: {text}");
            // If the gateway's parser accepts such a frame, the route itself reports the same error.
            let (_, of_route) = parse_send_message(body, 10).expect_err(body);
            assert_eq!(of_route.public_message(), text);
        }
        let with_id = format!(r#"{{"action":"dance","id":"{ID}"}}"#);
        for (body, has_id) in [("[]", false), ("null", false), ("{}", false), (with_id.as_str(), true)] {
            let (id, error) = unroutable(body);
            assert_eq!((id.is_some(), error.code()), (has_id, "unknown_action"), "{body}");
        }
    }

    #[test]
    fn the_text_limit_counts_bytes() {
        let body = |text: &str| format!(r#"{{"id":"{ID}","conversationId":"c","text":"{text}"}}"#);
        assert!(parse_send_message(&body("1234567890"), 10).is_ok());
        assert!(parse_send_message(&body("äöüäö"), 10).is_ok());
        assert!(parse_send_message(&body("äöüäöx"), 10).is_err());
    }
}
