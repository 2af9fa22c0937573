//! Administrators over the public contract: the group, the list of connected clients, closing clients, and all users.

use e2e::{Client, Rest, Stack, StackOptions, new_id};
use http::Method;
use serde_json::{Value, json};

async fn clients(admin: &Rest) -> Vec<Value> {
    admin.get("/api/admin/clients").await.expect(200)["items"].as_array().expect("items").clone()
}

async fn id_of(rest: &Rest) -> String {
    rest.get("/api/me").await.expect(200)["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn only_members_of_the_group_admin_are_let_in() {
    let stack = Stack::quick().await;
    let paths = [
        (Method::GET, "/api/admin/clients"),
        (Method::DELETE, "/api/admin/clients/somebody"),
        (Method::GET, "/api/admin/users"),
        (Method::GET, "/api/admin/users?limit=nonsense"),
        (Method::GET, "/api/admin"),
        (Method::GET, "/api/admin/nothing"),
        (Method::POST, "/api/admin/clients"),
    ];
    for groups in [&[][..], &["other"], &["administrators", "Admin"]] {
        let rest = stack.rest_with(&stack.token_in("mallory", groups).await);
        for (method, path) in &paths {
            let problem = rest.send(rest.request(method.clone(), path)).await.expect_problem(403);
            assert!(problem["detail"].as_str().is_some_and(|text| text.contains("admin")), "{problem}");
        }
    }
    let nobody = stack.rest_with("nonsense");
    for (method, path) in &paths {
        assert_eq!(nobody.send(nobody.request(method.clone(), path)).await.status, 401, "{path}");
    }
    let admin = stack.rest_with(&stack.token_in("root", &["other", "admin"]).await);
    assert_eq!(admin.get("/api/admin/clients").await.expect(200), json!({ "capacity": 50, "items": [] }));
    admin.get("/api/admin/nothing").await.expect_problem(404);
    admin.post("/api/admin/clients", &json!({})).await.expect_problem(405);
    // Everybody may use the rest of the API, and a preflight asks for nothing.
    id_of(&stack.rest("mallory").await).await;
    let preflight = admin.send(admin.request(Method::OPTIONS, "/api/admin/clients")).await;
    assert_eq!(preflight.status, 204);
}

#[tokio::test]
async fn an_administrator_sees_who_has_the_places_and_closes_one() {
    let stack = StackOptions::default().param("MaxClients", 2).param("MockLatencyMs", 0).start().await;
    let admin = stack.admin().await;
    let mut alice = Client::connect_with_session(&stack, "alice", "one").await;
    let mut bob = Client::connect(&stack, "bob").await;
    bob.ask_afresh("hello").await;
    let conversation = alice.rest.new_conversation().await;
    let message = new_id();
    alice.send_message(&message, &conversation, "!slow 3000").await;
    alice.receive_type("accepted").await;

    let shown = clients(&admin).await;
    assert_eq!(admin.get("/api/admin/clients").await.expect(200)["capacity"], 2);
    let of = |name: &str| shown.iter().find(|client| client["username"] == name).unwrap_or_else(|| panic!("{shown:?}"));
    assert_eq!((shown.len(), &of("alice")["pending"], &of("bob")["pending"]), (2, &json!(1), &json!(0)));
    assert!(shown[0]["slot"].as_u64() < shown[1]["slot"].as_u64(), "{shown:?}");
    let user = id_of(&alice.rest).await;
    assert_eq!(of("alice")["userId"], user);
    for time in ["connectedAt", "expiresAt"] {
        assert!(of("alice")[time].as_str().is_some_and(|text| text.ends_with('Z')), "{shown:?}");
    }
    assert!(of("alice")["connectedAt"].as_str() < of("alice")["expiresAt"].as_str());

    let closed = admin.delete(&format!("/api/admin/clients/{user}")).await;
    assert_eq!((closed.status, &closed.body), (204, &Value::Null));
    let closing = alice.receive().await;
    assert_eq!((&closing["type"], &closing["code"]), (&json!("closing"), &json!("closed_by_admin")), "{closing}");
    assert!(closing["message"].is_string());
    assert_eq!(alice.receive_or_close().await.expect_err("closed").map(|(code, _)| code), Some(1000));
    // Its place is free for anybody. Closing it a second time finds nothing.
    admin.delete(&format!("/api/admin/clients/{user}")).await.expect_problem(404);
    admin.delete("/api/admin/clients/nobody").await.expect_problem(404);
    admin.delete(&format!("/api/admin/clients/{}", "x".repeat(300))).await.expect_problem(404);
    let carol = Client::connect(&stack, "carol").await;
    assert_eq!(Client::try_connect(&stack, "alice", Some("one")).await.err().map(|status| status.as_u16()), Some(503));
    carol.close().await;
    stack.until("free", |state| state["leases"].as_array().is_some_and(|leases| leases.len() == 1)).await;
    // The client may come back, and its answer is there.
    let mut back = Client::connect_with_session(&stack, "alice", "one").await;
    stack.until("answered", |state| state["inFlight"]["worker"]["now"] == 0).await;
    let path = format!("/api/conversations/{conversation}/messages/{message}");
    assert_eq!(back.rest.get(&path).await.expect(200)["status"], "done");
    assert_eq!(bob.ask_afresh("undisturbed").await.0, "response for undisturbed");
    back.rest.get("/api/admission").await.expect(200);
    let shown = clients(&admin).await;
    assert!(shown.iter().any(|client| client["username"] == "alice"), "{shown:?}");
    back.send(&json!({ "action": "heartbeat" })).await;
    back.receive_type("heartbeat").await;
}

#[tokio::test]
async fn an_administrator_reads_all_users_by_name_page_by_page() {
    let stack = Stack::quick().await;
    stack.alone();
    let admin = stack.admin().await;
    let names = ["ann", "Anna", "bob", "anton", "zoe"];
    for name in names {
        id_of(&stack.rest(name).await).await;
        id_of(&stack.rest(name).await).await;
    }
    for limit in [1, 2, 100] {
        let (users, _) = admin.all(&format!("/api/admin/users?limit={limit}")).await;
        let listed: Vec<_> = users.iter().map(|user| user["username"].as_str().expect("a name")).collect();
        assert_eq!(listed, ["ann", "Anna", "anton", "bob", "zoe"], "{limit}");
        let ann = &users[0];
        assert!(ann["id"].is_string() && ann["createdAt"].is_string(), "{ann}");
        assert_eq!(*ann, stack.rest("ann").await.get("/api/me").await.expect(200));
    }
    let (users, pages) = admin.all("/api/admin/users?username=AN&limit=2").await;
    let listed: Vec<_> = users.iter().map(|user| user["username"].as_str().expect("a name")).collect();
    assert_eq!((listed, pages), (vec!["ann", "Anna", "anton"], 2));
    let page = admin.get("/api/admin/users?username=an&limit=1").await.expect(200);
    let cursor = page["nextCursor"].as_str().expect("more");
    let rest = admin.get(&format!("/api/admin/users?cursor={cursor}")).await.expect(200);
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(2), "{rest}");
    admin.get(&format!("/api/admin/users?username=b&cursor={cursor}")).await.expect_problem(400);
    admin.get("/api/admin/users?cursor=nonsense").await.expect_problem(400);
    admin.get("/api/admin/users?limit=0").await.expect_problem(422);
    admin.get(&format!("/api/admin/users?username={}", "x".repeat(129))).await.expect_problem(422);
    assert_eq!(admin.get("/api/admin/users?username=nobody").await.expect(200), json!({ "items": [] }));
}
