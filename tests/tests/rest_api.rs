//! The REST API over the public contract: each call, each error, and pages while others write.

use std::collections::BTreeSet;

use e2e::media::{Upload, fixture};
use e2e::{Client, Rest, Stack, StackOptions, new_id};
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["id"].as_str().expect("an id")).collect()
}

/// RFC 3339, UTC, milliseconds.
fn is_time(value: &Value) -> bool {
    let shape: String =
        value.as_str().unwrap_or_default().chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000Z"
}

#[tokio::test]
async fn the_first_call_of_a_new_user_creates_it_and_later_ones_find_it() {
    let stack = Stack::quick().await;
    stack.with_new_users();
    let alice = stack.rest("alice").await;
    let firsts = join_all((0..5).map(|_| alice.get("/api/me"))).await;
    let firsts: Vec<Value> = firsts.into_iter().map(|answer| answer.expect(200)).collect();
    assert!(firsts.iter().all(|first| first == &firsts[0]), "{firsts:?}");
    let me = stack.rest("alice").await.get("/api/me").await.expect(200);
    assert_eq!(me, firsts[0]);
    assert!(me["id"].is_string() && is_time(&me["createdAt"]), "{me}");
    assert_eq!(me["username"], stack.name_of("alice"));
    assert_ne!(stack.rest("bob").await.get("/api/me").await.expect(200)["id"], me["id"]);
}

#[tokio::test]
async fn admission_says_open_full_or_connected_and_when_to_come_again() {
    let stack = StackOptions::default().param("MaxClients", 1).param("FirstMessageSeconds", 40).start().await;
    let (alice, bob) = (stack.rest("alice").await, stack.rest("bob").await);
    let open = json!({ "state": "open", "inUse": 0, "capacity": 1, "retryAfterSeconds": 0 });
    assert_eq!(alice.get("/api/admission").await.expect(200), open);
    let client = Client::connect(&stack, "alice").await;
    for (rest, state) in [(&alice, "connected"), (&bob, "full")] {
        let admission = rest.get("/api/admission").await.expect(200);
        assert_eq!((&admission["state"], &admission["inUse"]), (&json!(state), &json!(1)), "{admission}");
        assert!((1..=40).contains(&admission["retryAfterSeconds"].as_u64().expect("a number")), "{admission}");
    }
    client.close().await;
    stack.until("free", |state| state["leases"].as_array().is_some_and(Vec::is_empty)).await;
    assert_eq!(bob.get("/api/admission").await.expect(200), open);
}

#[tokio::test]
async fn a_conversation_is_made_found_renamed_and_deleted() {
    let stack = Stack::quick().await;
    let alice = stack.rest("alice").await;
    let made = alice.post("/api/conversations", &json!({ "title": "Plans" })).await;
    let location = made.header("location").to_owned();
    let made = made.expect(201);
    assert_eq!(made["title"], "Plans");
    assert!(is_time(&made["createdAt"]) && made["createdAt"] == made["updatedAt"], "{made}");
    assert_eq!(location, format!("/api/conversations/{}", made["id"].as_str().expect("an id")));
    assert_eq!(alice.get(&location).await.expect(200), made);
    let renamed = alice.patch(&location, &json!({ "title": "Other plans" })).await.expect(200);
    assert_eq!((&renamed["title"], &renamed["id"]), (&json!("Other plans"), &made["id"]));
    assert_eq!(alice.get(&location).await.expect(200), renamed);
    let deleted = alice.delete(&location).await;
    assert_eq!((deleted.status, &deleted.body), (204, &Value::Null));
    for answer in [
        alice.get(&location).await,
        alice.delete(&location).await,
        alice.patch(&location, &json!({ "title": "x" })).await,
        alice.get(&format!("{location}/messages")).await,
    ] {
        answer.expect_problem(404);
    }
    // An absent body counts as an empty one.
    let made = alice.send(alice.request(Method::POST, "/api/conversations")).await.expect(201);
    assert_eq!(made["title"], "New conversation");
}

#[tokio::test]
async fn titles_have_1_to_100_characters_in_any_script() {
    let stack = Stack::quick().await;
    let alice = stack.rest("alice").await;
    let path = format!("/api/conversations/{}", alice.new_conversation().await);
    let good = ["x".to_owned(), "x".repeat(100), "🙂".repeat(100), "日本".repeat(50), "\"\\\u{0}\n".to_owned()];
    for title in &good {
        assert_eq!(&alice.post("/api/conversations", &json!({ "title": title })).await.expect(201)["title"], title);
        assert_eq!(&alice.patch(&path, &json!({ "title": title })).await.expect(200)["title"], title);
    }
    for title in ["".to_owned(), "x".repeat(101), "🙂".repeat(101)] {
        for answer in [
            alice.post("/api/conversations", &json!({ "title": title })).await,
            alice.patch(&path, &json!({ "title": title })).await,
        ] {
            let problem = answer.expect_problem(422);
            assert_eq!(problem["errors"][0]["field"], "title", "{problem}");
        }
    }
    assert_eq!(alice.get(&path).await.expect(200)["title"], *good.last().expect("a title"));
}

#[tokio::test]
async fn wrong_bodies_are_refused_and_the_answer_says_why() {
    let stack = Stack::quick().await;
    let alice = stack.rest("alice").await;
    let path = format!("/api/conversations/{}", alice.new_conversation().await);
    for (method, path) in [(Method::POST, "/api/conversations"), (Method::PATCH, path.as_str())] {
        let send = async |kind: &str, body: String| {
            let request = alice.request(method.clone(), path).header("content-type", kind);
            alice.send(request.body(body)).await
        };
        for malformed in ["{", "nonsense", "[]", "\"title\"", "{\"title\":\"a\"} x", "\u{feff}{}"] {
            send("application/json", malformed.to_owned()).await.expect_problem(400);
        }
        send("application/json", format!("{{\"title\":\"{}\"}}", "x".repeat(70_000))).await.expect_problem(413);
        for kind in ["text/plain", "application/xml", "multipart/form-data"] {
            send(kind, "{\"title\":\"x\"}".to_owned()).await.expect_problem(415);
        }
        let good = send("application/json; charset=utf-8", "{\"title\":\"x\"}".to_owned()).await;
        assert!(good.status < 300, "{good:?}");
        for (body, fields) in [
            (json!({ "title": 7 }), vec!["title"]),
            (json!({ "title": null }), vec!["title"]),
            (json!({ "title": ["x"] }), vec!["title"]),
            (json!({ "title": "x", "color": "red" }), vec!["color"]),
            (json!({ "titel": "x", "title": "" }), vec!["title", "titel"]),
        ] {
            let problem = send("application/json", body.to_string()).await.expect_problem(422);
            let errors = problem["errors"].as_array().expect("errors");
            assert_eq!(
                errors.iter().map(|error| error["field"].as_str().expect("a field")).collect::<Vec<_>>(),
                fields
            );
            assert!(errors.iter().all(|error| error["message"].as_str().is_some_and(|text| !text.is_empty())));
        }
    }
    let problem = alice.patch(&path, &json!({})).await.expect_problem(422);
    assert_eq!(problem["errors"][0]["field"], "title", "a change must say what to change");
}

#[tokio::test]
async fn wrong_methods_paths_and_parameters_are_problems() {
    let stack = Stack::quick().await;
    let alice = stack.rest("alice").await;
    let conversation = format!("/api/conversations/{}", alice.new_conversation().await);
    for (method, path) in [
        (Method::PUT, "/api/me"),
        (Method::DELETE, "/api/conversations"),
        (Method::POST, conversation.as_str()),
        (Method::DELETE, &format!("{conversation}/messages")),
    ] {
        let answer = alice.send(alice.request(method.clone(), path)).await;
        assert!(!answer.header("allow").is_empty(), "{method} {path}: {answer:?}");
        answer.expect_problem(405);
    }
    for path in ["/api/nothing", "/api/conversations/x/y", "/api/me/x", "/api/conversations/%00"] {
        alice.get(path).await.expect_problem(404);
    }
    let list = "/api/conversations";
    let messages = format!("{conversation}/messages");
    for limit in ["0", "101", "-1", "1.5", "x", "", "99999999999999999999", "1&limit=2"] {
        for path in [list, &messages] {
            let problem = alice.get(&format!("{path}?limit={limit}")).await.expect_problem(422);
            assert_eq!(problem["errors"][0]["field"], "limit", "{limit}");
        }
    }
    let problem = alice.get(&format!("{messages}?order=up&limit=0")).await.expect_problem(422);
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(2), "{problem}");
    for cursor in ["x", "", "e30", "%00"] {
        for path in [list, &messages] {
            alice.get(&format!("{path}?cursor={cursor}")).await.expect_problem(400);
        }
    }
    for after in ["x", "", &new_id(), &format!("{}-0", new_id())] {
        alice.get(&format!("{messages}?after={after}")).await.expect_problem(404);
    }
    assert_eq!(alice.get(&format!("{list}?unknown=1")).await.status, 200);
}

#[tokio::test]
async fn without_a_valid_token_nothing_is_told() {
    let stack = Stack::quick().await;
    let token = stack.token("alice").await;
    let (head, signature) = token.rsplit_once('.').expect("a JWT");
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    for path in ["/api/me", "/api/conversations", "/api/nothing"] {
        for rest in [stack.rest_with(""), stack.rest_with("nonsense"), stack.rest_with(&forged)] {
            let answer = rest.get(path).await;
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
            assert_eq!(answer.expect(401), json!({ "message": "Unauthorized" }));
        }
        assert_eq!(stack.get(path).await.status(), 401);
    }
}

#[tokio::test]
async fn conversations_are_listed_by_last_use_page_by_page_while_others_are_made() {
    let stack = Stack::quick().await;
    stack.with_new_users();
    let mut client = Client::connect(&stack, "alice").await;
    let rest = client.rest.clone();
    let mut made = Vec::new();
    for _ in 0..4 {
        made.extend(join_all((0..60).map(|_| rest.new_conversation())).await);
    }
    let (listed, pages) = rest.all("/api/conversations?limit=100").await;
    assert_eq!((listed.len(), pages), (240, 3));
    assert_eq!(ids(&listed).into_iter().collect::<BTreeSet<_>>(), made.iter().map(String::as_str).collect());
    let updated: Vec<_> = listed.iter().map(|item| item["updatedAt"].as_str().expect("a time")).collect();
    assert!(updated.is_sorted_by(|one, next| one >= next), "{updated:?}");

    // The conversation that was used last comes first. The pages follow while new ones are made.
    client.ask(&made[17], "hello").await;
    let reading = rest.all("/api/conversations?limit=7");
    let making = join_all((0..40).map(|_| rest.new_conversation()));
    let ((listed, _), _) = tokio::join!(reading, making);
    let seen: Vec<&str> = ids(&listed);
    let distinct: BTreeSet<&str> = seen.iter().copied().collect();
    assert_eq!(distinct.len(), seen.len(), "none is doubled");
    assert!(made.iter().all(|id| distinct.contains(id.as_str())), "none is lost");
    let first = rest.get("/api/conversations?limit=1").await.expect(200);
    client.ask(&made[3], "hello").await;
    let next = rest.get("/api/conversations?limit=1").await.expect(200);
    assert_ne!(first["items"][0]["id"], next["items"][0]["id"]);
    assert_eq!(next["items"][0]["id"], made[3]);
}

#[tokio::test]
async fn history_is_complete_in_both_orders_page_by_page_while_more_is_said() {
    let stack = StackOptions::default().param("MockLatencyMs", 0).param("MaxPendingPerClient", 100).start().await;
    let mut client = Client::connect(&stack, "alice").await;
    let rest = client.rest.clone();
    let conversation = rest.new_conversation().await;
    let messages = format!("/api/conversations/{conversation}/messages");
    let mut say = async |count: usize| {
        let sent: Vec<String> = (0..count).map(|_| new_id()).collect();
        for id in &sent {
            client.send_message(id, &conversation, id).await;
        }
        let mut waiting: BTreeSet<&str> = sent.iter().map(String::as_str).collect();
        while !waiting.is_empty() {
            let frame = client.receive().await;
            assert_ne!(frame["type"], "error", "{frame}");
            if frame["type"] == "reply" {
                waiting.remove(frame["id"].as_str().expect("an id"));
            }
        }
        sent
    };
    let first = say(60).await;
    let (all, pages) = rest.all(&format!("{messages}?limit=50")).await;
    assert_eq!((all.len(), pages), (120, 3));
    let (backwards, _) = rest.all(&format!("{messages}?limit=7&order=desc")).await;
    assert!(ids(&backwards).into_iter().rev().eq(ids(&all)));
    let asked: Vec<&str> =
        all.iter().filter(|m| m["role"] == "user").map(|m| m["id"].as_str().expect("an id")).collect();
    assert_eq!(asked, first);
    for message in &all {
        assert!(is_time(&message["createdAt"]) && message["conversationId"] == *conversation, "{message}");
        let by_id = rest.get(&format!("{messages}/{}", message["id"].as_str().expect("an id"))).await.expect(200);
        assert_eq!(&by_id, message);
    }
    let answers: Vec<&Value> = all.iter().filter(|message| message["role"] == "assistant").collect();
    assert!(answers.iter().map(|a| a["replyTo"].as_str().expect("an id")).eq(first.iter()), "answers in their order");

    // Others write while it is read. Items that were there are read once, and newer ones at most once.
    let by_three = format!("{messages}?limit=3");
    let ((read, _), more) = tokio::join!(rest.all(&by_three), say(30));
    let seen: BTreeSet<&str> = ids(&read).into_iter().collect();
    assert_eq!(seen.len(), read.len());
    assert!(all.iter().all(|message| seen.contains(message["id"].as_str().expect("an id"))));
    // `after` gives everything that came since the last known item.
    let (since, _) = rest.all(&format!("{messages}?limit=11&after={}", ids(&all)[119])).await;
    let said: Vec<&str> =
        since.iter().filter(|m| m["role"] == "user").map(|m| m["id"].as_str().expect("an id")).collect();
    assert_eq!((since.len(), said), (60, more.iter().map(String::as_str).collect()));
    let (whole, _) = rest.all(&messages).await;
    assert_eq!(ids(&whole)[120..], ids(&since));
}

#[tokio::test]
async fn a_long_conversation_is_deleted_with_all_that_it_held_and_waiting_messages_are_told() {
    let stack = StackOptions::default().param("MockLatencyMs", 0).param("MaxPendingPerClient", 100).start().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let kept = client.rest.new_conversation().await;
    client.ask(&kept, "stays").await;
    client.ask(&conversation, "hello").await;
    let slow = new_id();
    client.send_message(&slow, &conversation, "!slow 1500").await;
    client.receive_type("accepted").await;
    stack.until("at work", |state| state["inFlight"]["worker"]["now"] == 1).await;
    let path = format!("/api/conversations/{conversation}");
    assert_eq!(client.rest.delete(&path).await.status, 204);
    client.rest.get(&path).await.expect_problem(404);
    // The message is not answered into a deleted conversation.
    let end = client.answer(&slow).await.1;
    assert_eq!((&end["type"], &end["code"]), (&json!("error"), &json!("conversation_not_found")), "{end}");
    let id = new_id();
    client.send_message(&id, &conversation, "too late").await;
    let error = client.receive().await;
    assert_eq!((&error["code"], &error["id"]), (&json!("conversation_not_found"), &json!(id)), "{error}");
    let (listed, _) = client.rest.all("/api/conversations").await;
    assert_eq!(ids(&listed), [kept.as_str()]);
    let (messages, _) = client.rest.all(&format!("/api/conversations/{kept}/messages")).await;
    assert_eq!(messages.len(), 2);
}

#[tokio::test]
async fn the_document_and_its_page_are_served_without_a_token_and_need_no_other_host() {
    let stack = Stack::quick().await;
    let response = stack.get("/docs").await;
    assert_eq!(response.status(), 200);
    let page = response.text().await.expect("a page");
    assert!(page.contains("swagger-ui-bundle.js"), "{page}");
    for reference in page.split(['"', '\'']).filter(|text| text.ends_with(".js") || text.ends_with(".css")) {
        assert!(reference.starts_with("./docs/"), "{reference} is elsewhere");
        let file = stack.get(&reference[1..]).await;
        assert_eq!(file.status(), 200, "{reference}");
        assert!(file.bytes().await.expect("a body").len() > 10_000, "{reference}");
    }
    let document: Value = stack.get("/openapi.json").await.json().await.expect("JSON");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")), "{document}");
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(reference).is_some(), "there is no {reference}");
    }
}

/// Every operation of the served document: method and path.
async fn operations(stack: &Stack) -> Vec<(Method, String, Value)> {
    let document: Value = stack.get("/openapi.json").await.json().await.expect("JSON");
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let method = method.to_uppercase().parse().expect("a method");
            operations.push((method, path.clone(), operation.clone()));
        }
    }
    operations
}

#[tokio::test]
async fn the_document_has_every_call_of_the_contract_and_the_api_serves_no_other() {
    let stack = Stack::quick().await;
    let rest = stack.admin().await;
    let documented: BTreeSet<String> =
        operations(&stack).await.into_iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    let contract = [
        "GET /api/me",
        "GET /api/admission",
        "POST /api/conversations",
        "GET /api/conversations",
        "GET /api/conversations/{id}",
        "PATCH /api/conversations/{id}",
        "DELETE /api/conversations/{id}",
        "GET /api/conversations/{id}/messages",
        "GET /api/conversations/{id}/messages/{messageId}",
        "POST /api/uploads",
        "GET /api/media/{key}",
        "GET /api/admin/clients",
        "DELETE /api/admin/clients/{userId}",
        "GET /api/admin/users",
    ];
    for call in contract {
        assert!(documented.contains(call), "{call} is missing in {documented:?}");
    }
    // A method that is not documented is not served, on any path.
    let paths: BTreeSet<&str> =
        documented.iter().filter_map(|call| call.split_once(' ')).map(|(_, path)| path).collect();
    for path in paths {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let answer = rest.send(rest.request(method.clone(), &path.replace(['{', '}'], ""))).await;
            let served = answer.status != 405;
            assert_eq!(documented.contains(&format!("{method} {path}")), served, "{method} {path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn another_user_finds_nothing_by_any_route() {
    let stack = Stack::quick().await;
    let mut alice = Client::connect(&stack, "alice").await;
    let mut mallory = Client::connect(&stack, "mallory").await;
    let conversation = alice.rest.new_conversation().await;
    let (_, reply) = alice.ask(&conversation, "mine").await;
    for _ in 0..2 {
        alice.rest.new_conversation().await;
    }
    let picture = fixture("picture.png");
    let (used, unused) = (
        Upload::done(&alice.rest, "image/png", &picture).await,
        Upload::done(&alice.rest, "image/png", &picture).await,
    );
    let frame = json!({ "action": "sendMessage", "id": new_id(), "conversationId": conversation, "media": used });
    alice.send(&frame).await;
    alice.receive_type("reply").await;
    let texts = async || {
        let (messages, _) = alice.rest.all(&format!("/api/conversations/{conversation}/messages")).await;
        messages.iter().map(|message| (message["id"].clone(), message["text"].clone())).collect::<Vec<_>>()
    };
    let before = texts().await;
    let message = reply["id"].as_str().expect("an id").to_owned();
    let answer = reply["replies"][0]["id"].as_str().expect("an id").to_owned();
    let user = alice.rest.get("/api/me").await.expect(200)["id"].as_str().expect("an id").to_owned();

    // Tries every route of the document with the other user's ids.
    let mut walked = 0;
    for (method, path, operation) in operations(&stack).await {
        if !path.contains('{') {
            continue;
        }
        for (message, key) in [(&message, &used), (&answer, &unused)] {
            let path = path.replace("{id}", &conversation).replace("{messageId}", message).replace("{key}", key);
            let path = path.replace("{userId}", &user);
            assert!(!path.contains('{'), "what is the other's id in {path}?");
            let mut request = mallory.rest.request(method.clone(), &path);
            if operation["requestBody"].is_object() {
                request = request.json(&json!({ "title": "mine now" }));
            }
            let problem = if path.starts_with("/api/admin/") { 403 } else { 404 };
            mallory.rest.send(request).await.expect_problem(problem);
            walked += 1;
        }
    }
    assert!(walked >= 10, "{walked}");
    // Tries ids and cursors in parameters.
    let own = mallory.rest.new_conversation().await;
    mallory.rest.new_conversation().await;
    mallory.ask(&own, "hello").await;
    let own = format!("/api/conversations/{own}/messages");
    for after in [&message, &answer] {
        mallory.rest.get(&format!("{own}?after={after}")).await.expect_problem(404);
    }
    let cursor_of = async |rest: &Rest, path: &str| {
        let page = rest.get(&format!("{path}?limit=1")).await.expect(200);
        page["nextCursor"].as_str().expect("a cursor").to_owned()
    };
    let theirs = cursor_of(&alice.rest, "/api/conversations").await;
    mallory.rest.get(&format!("/api/conversations?cursor={theirs}")).await.expect_problem(400);
    let theirs = cursor_of(&alice.rest, &format!("/api/conversations/{conversation}/messages")).await;
    mallory.rest.get(&format!("{own}?cursor={theirs}")).await.expect_problem(400);
    // Tries the WebSocket.
    let id = new_id();
    mallory.send_message(&id, &conversation, "let me in").await;
    assert_eq!(mallory.receive().await["code"], "conversation_not_found");
    for key in [used, unused] {
        let own = own.split('/').nth(3).expect("a conversation");
        mallory.send(&json!({ "action": "sendMessage", "id": new_id(), "conversationId": own, "media": key })).await;
        assert_eq!(mallory.receive().await["code"], "media_not_found");
    }
    mallory.send(&json!({ "action": "cancel", "id": message })).await;
    assert_eq!(mallory.receive().await["code"], "bad_request");
    // None of this has changed anything.
    assert_eq!(texts().await, before);
}
