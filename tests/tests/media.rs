//! Images, audio and video: uploaded with a form as a browser does, sent, answered, downloaded, and deleted.

use std::time::Duration;

use e2e::media::{Upload, download, fixture};
use e2e::{Client, Stack, StackOptions, new_id};
use http::Method;
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;

/// Sends a message with media. Gives its last frame.
async fn send(client: &mut Client, conversation: &str, key: &str, text: Option<&str>) -> (Value, Value) {
    let id = new_id();
    let mut frame = json!({ "action": "sendMessage", "id": id, "conversationId": conversation, "media": key });
    if let Some(text) = text {
        frame["text"] = text.into();
    }
    client.send(&frame).await;
    let accepted = client.receive().await;
    assert_eq!(accepted["type"], "accepted", "{accepted}");
    (accepted, client.answer(&id).await.1)
}

async fn refused(client: &mut Client, conversation: &str, key: &str, code: &str) {
    let id = new_id();
    client.send(&json!({ "action": "sendMessage", "id": id, "conversationId": conversation, "media": key })).await;
    let error = client.receive().await;
    assert_eq!(
        (&error["type"], &error["code"], &error["id"]),
        (&json!("error"), &json!(code), &json!(id)),
        "{key}: {error}"
    );
}

/// The type that the first bytes show.
fn recognise(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => "audio/wav",
        [b'I', b'D', b'3', ..] => "audio/mpeg",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "video/mp4",
        _ => "nothing known",
    }
}

#[tokio::test]
async fn media_is_uploaded_sent_answered_and_downloaded() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    for (file, content_type, kind, answers) in [
        ("picture.png", "image/png", "image", &["text", "audio", "image"][..]),
        ("tone.mp3", "audio/mpeg", "audio", &["text", "audio"]),
        ("film.mp4", "video/mp4", "video", &["text", "audio", "image"]),
    ] {
        let bytes = fixture(file);
        let key = Upload::done(&client.rest, content_type, &bytes).await;
        let text = (kind == "image").then_some("look");
        let (accepted, reply) = send(&mut client, &conversation, &key, text).await;
        let message = &accepted["message"];
        assert_eq!((&message["type"], message["text"].as_str()), (&json!(kind), text), "{message}");
        let media = &message["media"];
        assert_eq!(
            (&media["key"], &media["contentType"], &media["bytes"]),
            (&json!(key), &json!(content_type), &json!(bytes.len()))
        );
        assert_eq!(
            download(media["url"].as_str().expect("a URL")).await,
            (200, content_type.to_owned(), bytes.clone())
        );

        assert_eq!(reply["type"], "reply", "{reply}");
        let replies = reply["replies"].as_array().expect("replies");
        assert_eq!(replies.iter().map(|reply| reply["type"].as_str().expect("a type")).collect::<Vec<_>>(), answers);
        assert_eq!(replies[0]["text"], format!("response for {}", text.unwrap_or_default()));
        for reply in &replies[1..] {
            assert!(reply.get("text").is_none(), "{reply}");
            let (status, content_type, bytes) = download(reply["media"]["url"].as_str().expect("a URL")).await;
            assert_eq!((status, reply["media"]["bytes"].as_u64()), (200, Some(bytes.len() as u64)), "{reply}");
            assert_eq!(
                (content_type.as_str(), &reply["media"]["contentType"]),
                (recognise(&bytes), &json!(content_type))
            );
        }
        // The API redirects to the object.
        for key in [key.as_str(), replies[1]["media"]["key"].as_str().expect("a key")] {
            let path = format!("/api/media/{key}");
            let response = client.rest.request(Method::GET, &path).send().await.expect("an answer");
            assert_eq!(response.status(), 200, "{path}");
            assert_ne!(recognise(&response.bytes().await.expect("a body")), "nothing known");
        }
    }
    // The history has all of it, with addresses of its own.
    let (history, _) = client.rest.all(&format!("/api/conversations/{conversation}/messages")).await;
    let media: Vec<_> = history.iter().filter(|message| message["media"].is_object()).collect();
    assert_eq!((history.len(), media.len()), (11, 8));
    for message in media {
        assert_eq!(download(message["media"]["url"].as_str().expect("a URL")).await.0, 200, "{message}");
    }
}

#[tokio::test]
async fn an_upload_of_another_user_that_is_missing_used_or_of_a_wrong_type_is_refused() {
    let stack = Stack::quick().await;
    let mut alice = Client::connect(&stack, "alice").await;
    let mut mallory = Client::connect(&stack, "mallory").await;
    let conversation = alice.rest.new_conversation().await;
    let own = mallory.rest.new_conversation().await;
    let picture = fixture("picture.png");

    let key = Upload::done(&alice.rest, "image/png", &picture).await;
    refused(&mut mallory, &own, &key, "media_not_found").await;
    mallory.rest.get(&format!("/api/media/{key}")).await.expect_problem(404);
    send(&mut alice, &conversation, &key, None).await;
    // An upload can be used once, by one message.
    refused(&mut alice, &conversation, &key, "media_not_found").await;
    refused(&mut mallory, &own, &key, "media_not_found").await;
    mallory.rest.get(&format!("/api/media/{key}")).await.expect_problem(404);

    for (bytes, content_type) in [
        (b"<script>alert(1)</script>".to_vec(), "image/png"),
        (fixture("tone.mp3"), "image/png"),
        (picture.clone(), "video/mp4"),
        (b"x".to_vec(), "audio/mpeg"),
    ] {
        let key = Upload::done(&alice.rest, content_type, &bytes).await;
        refused(&mut alice, &conversation, &key, "bad_request").await;
        // The upload stays until it expires.
        assert_eq!(
            alice.rest.request(Method::GET, &format!("/api/media/{key}")).send().await.expect("it").status(),
            200
        );
    }
    let allowed_only = Upload::new(&alice.rest, "image/png", 10).await.key;
    let uuid = &key[..36];
    for key in [
        allowed_only.as_str(),
        &format!("{}.png", new_id()),
        "",
        "..",
        "/",
        "x.png",
        &format!("../media/{key}"),
        &format!("{key}/../{key}"),
        &format!("{uuid}.PNG"),
        &format!("{uuid}.p/g"),
        &format!("{uuid}%2e.png"),
        &format!("{uuid}\u{0}.png"),
    ] {
        refused(&mut alice, &conversation, key, "media_not_found").await;
    }
    for key in ["..", "%2e%2e%2fmedia", "x", &format!("{uuid}%00.png"), &format!("{}.png", new_id())] {
        assert_eq!(alice.rest.get(&format!("/api/media/{key}")).await.status, 404, "{key}");
    }
}

#[tokio::test]
async fn a_message_that_is_sent_again_has_its_upload_still() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let key = Upload::done(&client.rest, "image/png", &fixture("picture.png")).await;
    let id = new_id();
    let frame = json!({ "action": "sendMessage", "id": id, "conversationId": conversation, "media": key });
    // All at once, as from a client that got no answer. There is one message, and nothing is refused.
    for _ in 0..5 {
        client.send(&frame).await;
    }
    let (mut accepted, mut replies) = (Vec::new(), 0);
    while accepted.len() < 5 || replies < 1 {
        let frame = client.receive().await;
        match frame["type"].as_str() {
            Some("accepted") => accepted.push(frame["duplicate"].clone()),
            Some("reply") => replies += 1,
            Some("delta") => {}
            _ => panic!("{frame}"),
        }
    }
    assert_eq!(accepted.iter().filter(|duplicate| **duplicate == json!(false)).count(), 1);
}

#[tokio::test]
async fn an_upload_may_be_asked_for_only_as_it_can_be() {
    let stack = Stack::quick().await;
    let rest = stack.rest("alice").await;
    for (body, field) in [
        (json!({ "contentType": "text/html", "bytes": 1 }), "contentType"),
        (json!({ "contentType": "image/svg+xml", "bytes": 1 }), "contentType"),
        (json!({ "contentType": "", "bytes": 1 }), "contentType"),
        (json!({ "contentType": 7, "bytes": 1 }), "contentType"),
        (json!({ "bytes": 1 }), "contentType"),
        (json!({ "contentType": "image/png" }), "bytes"),
        (json!({ "contentType": "image/png", "bytes": 0 }), "bytes"),
        (json!({ "contentType": "image/png", "bytes": -1 }), "bytes"),
        (json!({ "contentType": "image/png", "bytes": 1.5 }), "bytes"),
        (json!({ "contentType": "image/png", "bytes": "1" }), "bytes"),
        (json!({ "contentType": "image/png", "bytes": 25 * MIB + 1 }), "bytes"),
        (json!({ "contentType": "image/png", "bytes": 1, "key": "mine" }), "key"),
    ] {
        let problem = rest.post("/api/uploads", &body).await.expect_problem(422);
        assert_eq!(problem["errors"][0]["field"], field, "{body}");
    }
}

#[tokio::test]
async fn storage_itself_refuses_what_was_not_allowed() {
    let stack = Stack::quick().await;
    let rest = stack.rest("alice").await;
    let picture = fixture("picture.png");
    let upload = Upload::new(&rest, "image/png", picture.len()).await;
    for (name, value) in [
        ("key", "uploads/elsewhere/x.png"),
        ("key", "media/x.png"),
        ("key", "../x.png"),
        ("Content-Type", "text/html"),
        ("x-amz-date", "20200101T000000Z"),
        ("x-amz-signature", &"0".repeat(64)),
        ("policy", "e30="),
    ] {
        let (status, body) = upload.clone().with(name, value).send(picture.clone()).await;
        assert!([400, 403].contains(&status), "{name}={value}: {status} {body}");
    }
    // A policy that allows more, with the old signature.
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    let policy = String::from_utf8(engine.decode(upload.field("policy")).expect("base64")).expect("text");
    let wider = policy.replace(&format!("1,{}]", picture.len()), "1,999999999]");
    assert_ne!(wider, policy);
    let (status, body) = upload.clone().with("policy", &engine.encode(wider)).send(picture.clone()).await;
    assert_eq!(status, 403, "{body}");
    // One byte more than declared, and no bytes at all.
    let (status, body) = upload.send([picture.clone(), vec![0]].concat()).await;
    assert!(status == 400 && body.contains("EntityTooLarge"), "{status} {body}");
    let (status, body) = upload.send(Vec::new()).await;
    assert!(status == 400 && body.contains("EntityTooSmall"), "{status} {body}");
    assert_eq!(rest.get(&format!("/api/media/{}", upload.key)).await.status, 404, "nothing of it was stored");
    let (status, body) = upload.send(picture).await;
    assert_eq!(status, 204, "{body}");
}

#[tokio::test]
async fn a_policy_and_an_address_expire() {
    let stack = StackOptions::default().param("MockLatencyMs", 0).param("PresignSeconds", 2).start().await;
    let rest = stack.rest("alice").await;
    let picture = fixture("picture.png");
    let late = Upload::new(&rest, "image/png", picture.len()).await;
    let key = Upload::done(&rest, "image/png", &picture).await;
    // Gives the address that the API redirects to.
    let no_redirects =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let token = stack.token("alice").await;
    let lead = no_redirects.get(format!("{}/api/media/{key}", stack.url)).bearer_auth(token).send().await.expect("it");
    assert_eq!(lead.status(), 302);
    let url = lead.headers()["location"].to_str().expect("a URL").to_owned();
    assert_eq!(download(&url).await.0, 200);
    // Only time brings the expiry about.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(download(&url).await.0, 403);
    let (status, body) = late.send(picture).await;
    assert!(status == 403 && body.contains("expired"), "{status} {body}");
}

#[tokio::test]
async fn the_largest_object_is_taken_and_no_function_holds_it() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let small = Upload::done(&client.rest, "image/png", &fixture("picture.png")).await;
    send(&mut client, &conversation, &small, None).await;
    let peaks = async || {
        let mut peaks = Vec::new();
        for function in ["send_message", "worker", "rest_api"] {
            for pid in stack.pids(function).await {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
                let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
                let kib: usize = peak.trim().trim_end_matches(" kB").parse().expect("a number");
                peaks.push((function, pid, kib));
            }
        }
        peaks
    };
    let before = peaks().await;
    let mut large = fixture("picture.png");
    large.resize(25 * MIB, 0);
    let one_more = Upload::new(&client.rest, "image/png", large.len()).await;
    let (status, body) = one_more.send([large.clone(), vec![0]].concat()).await;
    assert!(status == 400 && body.contains("EntityTooLarge"), "{status} {body}");
    let key = Upload::done(&client.rest, "image/png", &large).await;
    let (accepted, reply) = send(&mut client, &conversation, &key, None).await;
    assert_eq!((&accepted["message"]["media"]["bytes"], &reply["type"]), (&json!(25 * MIB), &json!("reply")));
    let (status, _, bytes) = download(accepted["message"]["media"]["url"].as_str().expect("a URL")).await;
    assert!(status == 200 && bytes == large);
    for (function, pid, kib) in peaks().await {
        let was = before.iter().find(|(_, before, _)| *before == pid).map_or(40 * 1024, |(_, _, kib)| *kib);
        assert!(kib < was + 8 * 1024, "{function} had {was} KiB at most and now {kib}");
    }
}

#[tokio::test]
async fn a_message_that_is_cancelled_while_it_waits_still_has_its_media() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let (running, waiting) = (new_id(), new_id());
    client.send_message(&running, &conversation, "!slow 30000").await;
    client.receive_type("accepted").await;
    let key = Upload::done(&client.rest, "image/png", &fixture("picture.png")).await;
    let frame = json!({ "action": "sendMessage", "id": waiting, "conversationId": conversation, "media": key });
    client.send(&frame).await;
    client.receive_type("accepted").await;
    client.send(&json!({ "action": "cancel", "id": waiting })).await;
    let reply = client.receive_type("reply").await;
    assert_eq!((&reply["id"], &reply["message"]["status"]), (&json!(waiting), &json!("cancelled")), "{reply}");
    // `cancel` has signed this address.
    let url = reply["message"]["media"]["url"].as_str().expect("a URL");
    let (status, _, bytes) = download(url).await;
    assert_eq!((status, bytes), (200, fixture("picture.png")), "{url}");
    client.send(&json!({ "action": "cancel", "id": running })).await;
    assert_eq!(client.receive_type("reply").await["id"], json!(running));
}

#[tokio::test]
async fn a_deleted_conversation_takes_its_media_with_it() {
    let stack = Stack::quick().await;
    let mut client = Client::connect(&stack, "alice").await;
    let (conversation, kept) = (client.rest.new_conversation().await, client.rest.new_conversation().await);
    let mut urls = Vec::new();
    for conversation in [&conversation, &kept] {
        let key = Upload::done(&client.rest, "image/png", &fixture("picture.png")).await;
        let (accepted, reply) = send(&mut client, conversation, &key, None).await;
        let of = |message: &Value| message["media"]["url"].as_str().expect("a URL").to_owned();
        urls.push([of(&accepted["message"]), of(&reply["replies"][1]), of(&reply["replies"][2])]);
    }
    assert_eq!(client.rest.delete(&format!("/api/conversations/{conversation}")).await.status, 204);
    for (urls, expected) in urls.iter().zip([404, 200]) {
        for url in urls {
            assert_eq!(download(url).await.0, expected, "{url}");
        }
    }
}

#[tokio::test]
async fn an_upload_that_is_never_used_is_gone_after_its_time() {
    let stack = StackOptions::default().param("MockLatencyMs", 0).arg("--lifecycle-day").arg("1").start().await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let picture = fixture("picture.png");
    let used = Upload::done(&client.rest, "image/png", &picture).await;
    send(&mut client, &conversation, &used, None).await;
    let unused = Upload::done(&client.rest, "image/png", &picture).await;
    let status = async |key: &str| {
        client.rest.request(Method::GET, &format!("/api/media/{key}")).send().await.expect("it").status()
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while status(&unused).await != 404 {
        assert!(tokio::time::Instant::now() < deadline, "it is still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status(&used).await, 200);
}

#[tokio::test]
async fn a_page_of_another_origin_may_upload_and_download() {
    let stack = Stack::quick().await;
    let rest = stack.rest("alice").await;
    let upload = Upload::new(&rest, "image/png", 1000).await;
    let http = reqwest::Client::new();
    for (url, method) in [
        (upload.url.clone(), "POST"),
        (format!("{}/api/uploads", stack.url), "POST"),
        (format!("{}/api/conversations/x", stack.url), "PATCH"),
        (format!("{}/api/me", stack.url), "GET"),
    ] {
        let preflight = http
            .request(Method::OPTIONS, &url)
            .header("origin", "http://127.0.0.1:5173")
            .header("access-control-request-method", method)
            .header("access-control-request-headers", "authorization,content-type");
        let response = preflight.send().await.expect("an answer");
        let header =
            |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(response.status().is_success(), "{url}: {response:?}");
        assert!(["*", "http://127.0.0.1:5173"].contains(&header("access-control-allow-origin")), "{url}: {response:?}");
        assert!(header("access-control-allow-methods").contains(method), "{url}: {response:?}");
        assert!(header("access-control-allow-headers").to_lowercase().contains("content-type"), "{url}: {response:?}");
    }
    let me = rest.request(Method::GET, "/api/me").header("origin", "http://127.0.0.1:5173").send().await.expect("it");
    assert_eq!(me.headers()["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn addresses_are_signed_for_the_host_that_browsers_see() {
    // The storage is a stack of its own, like a MinIO beside the stack. Functions reach it by one name, browsers by
    // another.
    let storage = Stack::quick().await;
    let public = format!("http://localhost:{}", storage.port());
    let stack = StackOptions::default()
        .param("MockLatencyMs", 0)
        .param("MediaEndpointUrl", &public)
        .arg("--s3-endpoint-url")
        .arg(&storage.url)
        .start()
        .await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    let picture = fixture("picture.png");
    let upload = Upload::new(&client.rest, "image/png", picture.len()).await;
    assert!(upload.url.starts_with(&public), "{}", upload.url);
    let (status, body) = upload.send(picture.clone()).await;
    assert_eq!(status, 204, "{body}");
    let (accepted, reply) = send(&mut client, &conversation, &upload.key, None).await;
    for media in [&accepted["message"]["media"], &reply["replies"][1]["media"], &reply["replies"][2]["media"]] {
        let url = media["url"].as_str().expect("a URL");
        assert!(url.starts_with(&public), "{url}");
        assert_eq!(download(url).await.0, 200, "{url}");
        // Under another host name the address is refused, because the signature covers the host.
        assert_eq!(download(&url.replace("//localhost:", "//127.0.0.1:")).await.0, 403, "{url}");
    }
    // All objects are there, and none is here.
    let calls = |state: Value| state["bill"]["calls"]["worker"]["s3"].clone();
    assert_eq!(calls(stack.state().await), Value::Null);
    assert!(calls(storage.state().await)["PutObject"].as_u64() >= Some(2), "{:#}", storage.state().await["bill"]);
}
