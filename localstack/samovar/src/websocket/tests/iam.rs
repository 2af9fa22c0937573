//! Handshakes that must be signed with AWS credentials.

use aws_sigv4::http_request::SignatureLocation;
use http::HeaderValue;
use samovar_services::permissions::{Account, Permissions};
use serde_json::json;

use super::*;
use crate::testing::signing::instructions;

const KEY: (&str, Option<&str>) = ("LOCAL-caller", Some("local"));

async fn bench() -> Bench {
    let bench = Bench::with(|api| api.spec.iam_authorization = true).await;
    let account = Account { region: "us-east-1".to_owned(), id: "000000000000".to_owned() };
    let allow = json!({ "Statement": [{
        "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "arn:aws:execute-api:*:*:chatapi/prod/$connect",
    }] });
    bench.api.door.enforce(Permissions::of([("caller", &[allow][..])].into_iter(), account));
    bench
}

/// A handshake with the signature in its headers.
fn signed(bench: &Bench, service: &str, key: (&str, Option<&str>)) -> Request<()> {
    let url = format!("http://{}/prod?x=1", bench.address);
    let mut request = url.replacen("http", "ws", 1).into_client_request().unwrap();
    for (name, value) in instructions(service, &url, key, b"", SignatureLocation::Headers).headers() {
        let name = http::HeaderName::try_from(name).unwrap();
        request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    }
    request
}

#[tokio::test]
async fn a_signed_handshake_is_let_in_and_its_signer_is_in_every_event() {
    let bench = bench().await;
    let (socket, _) = client::upgrade(signed(&bench, "execute-api", KEY)).await.unwrap();
    let event = bench.functions.event("connect").await;
    let identity = &event["requestContext"]["identity"];
    let arn = "arn:aws:sts::000000000000:assumed-role/caller/caller";
    assert_eq!((&identity["accessKey"], &identity["userArn"]), (&json!("LOCAL-caller"), &json!(arn)));
    let id = event["requestContext"]["connectionId"].as_str().unwrap().to_owned();
    let mut client = Client { id, socket };
    client.send(r#"{"action":"join"}"#).await;
    assert_eq!(bench.functions.event("join").await["requestContext"]["identity"]["userArn"], arn);
    bench.drained_of(client).await;
}

#[tokio::test]
async fn an_address_may_be_presigned() {
    let bench = bench().await;
    let mut url: reqwest::Url = format!("http://{}/prod?x=1", bench.address).parse().unwrap();
    let signature = instructions("execute-api", url.as_str(), KEY, b"", SignatureLocation::QueryParams);
    url.query_pairs_mut().extend_pairs(signature.params());
    let address = url.as_str().replacen("http", "ws", 1);
    assert!(client::upgrade(address.clone().into_client_request().unwrap()).await.is_ok());
    let changed = address.replace("x=1", "x=2");
    assert_eq!(client::upgrade(changed.into_client_request().unwrap()).await.expect_err("refused").0, 403);
}

#[tokio::test]
async fn a_handshake_without_a_valid_signature_or_permission_is_403() {
    let bench = bench().await;
    let (status, body) = bench.refused().await;
    assert_eq!((status, &body["message"]), (403, &json!("Missing Authentication Token")));
    for (service, key) in
        [("lambda", KEY), ("execute-api", ("LOCAL-nobody", Some("local"))), ("execute-api", ("LOCAL-caller", None))]
    {
        let (status, body) = client::upgrade(signed(&bench, service, key)).await.expect_err("refused");
        assert_eq!((status, &body["message"]), (403, &json!("Forbidden")), "{service} {key:?}");
    }
    let denied = Bench::with(|api| api.spec.iam_authorization = true).await;
    let account = Account { region: "us-east-1".to_owned(), id: "000000000000".to_owned() };
    denied.api.door.enforce(Permissions::of([("caller", &[][..])].into_iter(), account));
    let (status, body) = client::upgrade(signed(&denied, "execute-api", KEY)).await.expect_err("denied");
    assert_eq!(status, 403);
    let message = body["message"].as_str().unwrap();
    assert!(message.contains("is not authorized to perform: execute-api:Invoke on resource: arn:aws:"), "{message}");
    assert_eq!(bench.functions.count("connect") + denied.functions.count("connect"), 0);
}
