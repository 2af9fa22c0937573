//! Mistakes that a client can make. Each gets exactly what the contract says, and the stack keeps serving.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::{Client, Stack, StackOptions, new_id};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// Checks that the frame is answered with this error, and that the next message works as if nothing had happened.
async fn refused(client: &mut Client, frame: &str, code: &str, id: Option<&str>) {
    client.send_text(frame).await;
    let error = client.receive().await;
    assert_eq!(error["type"], "error", "{frame}: {error}");
    assert_eq!(error["code"], code, "{frame}: {error}");
    assert_eq!(error.get("id").and_then(Value::as_str), id, "{frame}: {error}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{frame}: {error}");
}

#[tokio::test]
async fn a_frame_that_is_no_known_action_is_an_unknown_action() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    for frame in [
        "[]",
        "null",
        "{}",
        r#"{"text":"no action"}"#,
        r#"{"action":null}"#,
        r#"{"action":7}"#,
        r#"{"action":"dance"}"#,
        r#"{"action":"SENDMESSAGE"}"#,
        r#"{"action":"$connect"}"#,
        r#"{"action":"$disconnect"}"#,
        r#"{"action":"$default"}"#,
    ] {
        refused(&mut client, frame, "unknown_action", None).await;
    }
    let (streamed, _) = client.ask_afresh("still here").await;
    assert_eq!(streamed, "response for still here");
}

#[tokio::test]
async fn a_frame_that_is_not_json_is_a_bad_request_that_says_where() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    let surrogate = r#"{"action":"sendMessage","id":"6f9619ff-8b86-4011-b42d-00c04fc964ff","text":"\ud83d"}"#;
    for (frame, place) in
        [("not json", "column 2"), ("", "column 0"), ("{\n}}", "line 2"), (surrogate, "hex escape at line 1 column 83")]
    {
        client.send_text(frame).await;
        let error = client.receive().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("bad_request")), "{frame}: {error}");
        let said = error["message"].as_str().expect("a text");
        assert!(said.contains("JSON") && said.contains(place), "{frame}: {said}");
    }
    let (streamed, _) = client.ask_afresh("still here").await;
    assert_eq!(streamed, "response for still here");
}

#[tokio::test]
async fn a_message_with_wrong_or_missing_parts_is_a_bad_request() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "bob").await;
    let (id, conversation) = (new_id(), client.rest.new_conversation().await);
    let frame = |parts: Value| {
        let mut frame = json!({ "action": "sendMessage", "id": id, "conversationId": conversation, "text": "x" });
        for (name, value) in parts.as_object().expect("parts") {
            frame[name] = value.clone();
        }
        frame.to_string()
    };
    for (parts, code, with_id) in [
        (json!({ "id": null }), "bad_request", false),
        (json!({ "id": 7 }), "bad_request", false),
        (json!({ "id": "no uuid" }), "bad_request", false),
        (json!({ "conversationId": null }), "bad_request", true),
        (json!({ "conversationId": 7 }), "bad_request", true),
        (json!({ "conversationId": ["x"] }), "bad_request", true),
        (json!({ "text": null }), "bad_request", true),
        (json!({ "text": "" }), "bad_request", true),
        (json!({ "text": 7 }), "bad_request", true),
        (json!({ "text": { "a": 1 } }), "bad_request", true),
        (json!({ "media": 7 }), "bad_request", true),
        (json!({ "text": "x".repeat(16_385) }), "too_large", true),
        (json!({ "text": "ä".repeat(8_193) }), "too_large", true),
        (json!({ "media": "never/uploaded" }), "media_not_found", true),
        (json!({ "conversationId": "" }), "conversation_not_found", true),
        (json!({ "conversationId": "not-a-uuid" }), "conversation_not_found", true),
        (json!({ "conversationId": "with spaces and ümläuts" }), "conversation_not_found", true),
    ] {
        refused(&mut client, &frame(parts), code, with_id.then_some(&id)).await;
    }
    // None of these frames has used up the id.
    client.send_message(&id, &conversation, "now right").await;
    assert_eq!(client.receive().await["duplicate"], false);
    let (streamed, _) = client.answer(&id).await;
    assert_eq!(streamed, "response for now right");
}

#[tokio::test]
async fn another_users_conversation_is_not_found() {
    let stack = Stack::quick().await;
    let mut alice = Client::connect(&stack, "alice").await;
    let mut mallory = Client::connect(&stack, "mallory").await;
    let conversation = alice.rest.new_conversation().await;
    alice.ask(&conversation, "mine").await;
    let id = new_id();
    let frame = json!({ "action": "sendMessage", "id": id, "conversationId": conversation, "text": "let me in" });
    refused(&mut mallory, &frame.to_string(), "conversation_not_found", Some(&id)).await;
    let (streamed, _) = alice.ask(&conversation, "still mine").await;
    assert_eq!(streamed, "response for still mine");
    let (streamed, _) = mallory.ask_afresh("my own").await;
    assert_eq!(streamed, "response for my own");
}

#[tokio::test]
async fn a_message_id_of_one_user_is_free_for_another() {
    let stack = Stack::quick().await;
    let mut alice = Client::connect(&stack, "alice").await;
    let mut bob = Client::connect(&stack, "bob").await;
    let id = new_id();
    for (client, text) in [(&mut alice, "from alice"), (&mut bob, "from bob")] {
        let conversation = client.rest.new_conversation().await;
        client.send_message(&id, &conversation, text).await;
        let accepted = client.receive().await;
        assert_eq!((&accepted["duplicate"], &accepted["message"]["text"]), (&json!(false), &json!(text)));
        let (streamed, _) = client.answer(&id).await;
        assert_eq!(streamed, format!("response for {text}"));
    }
}

#[tokio::test]
async fn frames_beyond_the_gateways_quotas_close_the_connection_with_their_code() {
    let stack = Stack::quick().await;
    // The gateway allows at most 32 KB in one frame. The route judges the content.
    let mut client = Client::connect(&stack, "alice").await;
    client.send_text(&"x".repeat(32 * 1024)).await;
    assert_eq!(client.receive().await["code"], "bad_request");
    client.send_text(&"x".repeat(32 * 1024 + 1)).await;
    assert_eq!(client.receive_or_close().await.expect_err("closed").map(|(code, _)| code), Some(1009));

    let mut client = Client::connect(&stack, "bob").await;
    client.send_raw(Message::binary(vec![1, 2, 3])).await;
    assert_eq!(client.receive_or_close().await.expect_err("closed").map(|(code, _)| code), Some(1003));

    // The places of both are free again, and the other clients were not disturbed.
    stack.until("free", |state| state["leases"].as_array().is_some_and(Vec::is_empty)).await;
    let mut client = Client::connect(&stack, "bob").await;
    let (streamed, _) = client.ask_afresh("back").await;
    assert_eq!(streamed, "response for back");
}

#[tokio::test]
async fn a_text_whose_escapes_are_above_the_quota_has_two_ways_through_and_the_close_names_them() {
    let stack = Stack::quick().await;
    let mut client = Client::connect_with_session(&stack, "alice", "one").await;
    let conversation = client.rest.new_conversation().await;
    let text = "é".repeat(8192);
    let frame = |id: &str| {
        let frame = json!({ "action": "sendMessage", "id": id, "conversationId": conversation, "text": text });
        (frame.to_string(), frame.to_string().replace('é', "\\u00e9"))
    };
    let (_, escaped) = frame(&new_id());
    assert!(escaped.len() > 49_000, "{}", escaped.len());
    client.send_text(&escaped).await;
    let (code, reason) = client.receive_or_close().await.expect_err("closed").expect("a reason");
    assert_eq!(code, 1009);
    for part in ["32 KB", "128 KB", "unescaped", "fragments"] {
        assert!(reason.contains(part), "{reason}");
    }

    let mut client = Client::connect_with_session(&stack, "alice", "one").await;
    let id = new_id();
    client.send_text(&frame(&id).0).await;
    client.receive_type("accepted").await;
    assert_eq!(client.answer(&id).await.0, format!("response for {text}"));
    let id = new_id();
    client.send_fragments(&frame(&id).1, 32 * 1024).await;
    client.receive_type("accepted").await;
    assert_eq!(client.answer(&id).await.0, format!("response for {text}"));
}

#[tokio::test]
async fn a_client_without_a_good_token_is_unauthorized() {
    let data = tempfile::tempdir().expect("a directory");
    let stack = StackOptions::default().data_dir(data.path()).start().await;
    let elsewhere = Stack::quick().await;
    let good = stack.token("alice").await;
    let key = std::fs::read(data.path().join("oidc-key.pem")).expect("the issuer's key");
    let key = EncodingKey::from_rsa_pem(&key).expect("an RSA key");
    let part = |index: usize| -> Value {
        let part = URL_SAFE_NO_PAD.decode(good.split('.').nth(index).expect("a part")).expect("base64");
        serde_json::from_slice(&part).expect("JSON")
    };
    let (header, claims) = (part(0), part(1));
    let header = Header { kid: header["kid"].as_str().map(str::to_owned), ..Header::new(Algorithm::RS256) };
    let signed = |changes: Value| {
        let mut claims = claims.clone();
        for (name, value) in changes.as_object().expect("claims") {
            claims[name] = value.clone();
        }
        jsonwebtoken::encode(&header, &claims, &key).expect("a token")
    };
    let mut unsigned: Vec<String> = good.split('.').map(str::to_owned).collect();
    unsigned[2].clear();
    let mut forged: Vec<String> = good.split('.').map(str::to_owned).collect();
    forged[1] = URL_SAFE_NO_PAD.encode(json!({ "sub": "root" }).to_string());
    let secret = EncodingKey::from_secret(b"secret");
    let symmetric = Header { kid: header.kid.clone(), ..Header::new(Algorithm::HS256) };

    for (what, token) in [
        ("nonsense", "nonsense".to_owned()),
        ("expired", signed(json!({ "exp": claims["iat"].as_i64().expect("a time") - 1 }))),
        ("without expiry", signed(json!({ "exp": null }))),
        ("not valid yet", signed(json!({ "nbf": claims["exp"] }))),
        ("of another issuer", elsewhere.token("alice").await),
        ("that names another issuer", signed(json!({ "iss": "https://issuer.example" }))),
        ("for another audience", signed(json!({ "client_id": "another" }))),
        ("with another audience in aud", signed(json!({ "aud": ["another"] }))),
        ("without a user", signed(json!({ "sub": null }))),
        ("without a signature", unsigned.join(".")),
        ("changed after signing", forged.join(".")),
        ("signed with a secret", jsonwebtoken::encode(&symmetric, &claims, &secret).expect("a token")),
    ] {
        let bearer = format!("Bearer {token}");
        let refused = Client::with_headers(&stack, "", &[("Authorization", &bearer)]).await;
        assert_eq!(refused.err().map(|status| status.as_u16()), Some(401), "a token {what}");
        let offered = format!("parley.v1, bearer.{token}");
        let refused = Client::with_headers(&stack, "", &[("Sec-WebSocket-Protocol", &offered)]).await;
        assert_eq!(refused.err().map(|status| status.as_u16()), Some(401), "a token {what}, as a subprotocol");
    }
    for headers in [&[][..], &[("Authorization", "Basic YTpi")][..], &[("Sec-WebSocket-Protocol", "parley.v1")][..]] {
        let refused = Client::with_headers(&stack, "", headers).await;
        assert_eq!(refused.err().map(|status| status.as_u16()), Some(401), "{headers:?}");
    }
    // The audience may be where user pools put it or where other issuers put it.
    for changes in [json!({}), json!({ "client_id": null, "aud": claims["client_id"] })] {
        let bearer = format!("Bearer {}", signed(changes));
        Client::with_headers(&stack, "", &[("Authorization", &bearer)]).await.expect("let in").close().await;
        stack.until("free", |state| state["leases"].as_array().is_some_and(Vec::is_empty)).await;
    }
}

#[tokio::test]
async fn a_second_connection_of_a_user_is_a_conflict_and_a_bad_session_a_bad_request() {
    let stack = Stack::quick().await;
    let mut first = Client::connect_with_session(&stack, "alice", "one").await;
    for session in [None, Some("two")] {
        let refused = Client::try_connect(&stack, "alice", session).await;
        assert_eq!(refused.err().map(|status| status.as_u16()), Some(409), "{session:?}");
    }
    for query in ["?session=no%20good", "?takeover=yes", "?takeover=", "?session=one&takeover=TRUE"] {
        let refused = Client::with_query(&stack, "alice", query).await;
        assert_eq!(refused.err().map(|status| status.as_u16()), Some(400), "{query}");
    }
    let refused = Client::with_query(&stack, "alice", "?session=two&takeover=false").await;
    assert_eq!(refused.err().map(|status| status.as_u16()), Some(409));
    let (streamed, _) = first.ask_afresh("undisturbed").await;
    assert_eq!(streamed, "response for undisturbed");
}

#[tokio::test]
async fn a_token_is_only_for_a_name_of_1_to_64_characters() {
    let stack = Stack::quick().await;
    for (body, status) in [
        (json!({ "username": "a" }).to_string(), 200),
        (json!({ "username": "ä".repeat(64) }).to_string(), 200),
        (json!({ "username": "ä".repeat(65) }).to_string(), 400),
        (json!({ "username": "" }).to_string(), 400),
        (json!({ "username": 7 }).to_string(), 400),
        (json!({}).to_string(), 400),
        (json!({ "username": "a", "groups": ["admin"] }).to_string(), 200),
        (json!({ "username": "a", "groups": "admin" }).to_string(), 400),
        ("not json".to_owned(), 400),
    ] {
        let response = stack.post("/_local/token", &body).await;
        assert_eq!(response.status().as_u16(), status, "{body}");
    }
    assert_eq!(stack.get("/_local/token").await.status().as_u16(), 405);
}
