//! `infra/template.yaml` as the local stack reads it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use samovar_template::{Locals, StaticSite, Template, TemplateError, load, parse};
use serde_json::json;

fn locals() -> Locals {
    Locals {
        stack_name: "local".to_owned(),
        region: "eu-central-1".to_owned(),
        account_id: "000000000000".to_owned(),
        sqs_url: "http://127.0.0.1:8000/_aws/sqs".to_owned(),
        issuer: "http://127.0.0.1:8000/_local/issuer".to_owned(),
        allow_missing: false,
    }
}

fn overrides(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/template.yaml")
}

fn load_project(given: &[(&str, &str)]) -> Result<Template, TemplateError> {
    load(&project(), &overrides(given), &locals())
}

#[test]
fn the_projects_template_gives_its_model() {
    let template = load_project(&[]).unwrap_or_else(|error| panic!("{error}"));

    let api = &template.websocket_apis[0];
    assert_eq!((api.api_id.as_str(), api.name.as_str(), api.stage.as_str()), ("websocketapi", "local-ws", "ws"));
    assert_eq!(api.route_selection.to_string(), "$request.body.action");
    assert_eq!(api.authorizer.as_ref().map(|authorizer| authorizer.function.as_str()), Some("authorizer"));
    let answering: Vec<_> = api.routes.iter().map(|(key, route)| (key.as_str(), route.route_response)).collect();
    for expected in
        [("$connect", false), ("$default", true), ("$disconnect", false), ("heartbeat", true), ("sendMessage", true)]
    {
        assert!(answering.contains(&expected), "{expected:?} in {answering:?}");
    }

    let worker = template.functions.iter().find(|function| function.name == "worker").expect("worker");
    assert_eq!(worker.arn, "arn:aws:lambda:eu-central-1:000000000000:function:local-Worker");
    assert_eq!(worker.code_dir, project().parent().expect("folder").join(".."));
    assert_eq!((worker.memory_mb, worker.timeout), (128, Duration::from_secs(60)));
    assert_eq!(worker.reserved_concurrency, Some(500));
    let source = &worker.event_sources[0];
    assert_eq!((source.queue.as_str(), source.batch_size), ("local-messages.fifo", 1));
    assert_eq!(
        (source.maximum_concurrency, source.report_batch_item_failures, source.enabled),
        (Some(500), true, true)
    );
    assert_eq!(worker.environment["QUEUE_URL"], "http://127.0.0.1:8000/_aws/sqs/000000000000/local-messages.fifo");
    assert_eq!(worker.environment["MAX_CLIENTS"], "50", "of the globals");
    assert_eq!(
        worker.environment["AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"],
        "https://websocketapi.execute-api.eu-central-1.amazonaws.com/ws"
    );
    let table = "arn:aws:dynamodb:eu-central-1:000000000000:table/local-ConnectionsTable";
    assert_eq!(worker.policies[0]["Statement"][0]["Resource"], table);

    let queue = template.queues.iter().find(|queue| queue.name == "local-messages.fifo").expect("queue");
    assert_eq!(queue.arn, "arn:aws:sqs:eu-central-1:000000000000:local-messages.fifo");
    assert_eq!(queue.attributes["FifoQueue"], "true");
    assert_eq!(queue.attributes["VisibilityTimeout"], "60");
    let policy: serde_json::Value = serde_json::from_str(&queue.attributes["RedrivePolicy"]).expect("JSON");
    let dead = "arn:aws:sqs:eu-central-1:000000000000:local-messages-dead.fifo";
    assert_eq!(policy, json!({ "deadLetterTargetArn": dead, "maxReceiveCount": 5 }));

    let connections = template.tables.iter().find(|table| table.logical_id == "ConnectionsTable").expect("table");
    assert_eq!(connections.ttl_attribute.as_deref(), Some("ttl"));
    let authorizer = template.functions.iter().find(|function| function.name == "authorizer").expect("authorizer");
    assert_eq!(authorizer.environment["OIDC_ISSUER"], locals().issuer);
    assert_eq!(template.user_pool_clients, ["UserPoolClient"]);
    assert_eq!(template.outputs["WebSocketUrl"], "wss://websocketapi.execute-api.eu-central-1.amazonaws.com/ws");
}

#[test]
fn an_override_changes_every_property_that_refers_to_the_parameter() {
    let given = [
        ("ReserveConcurrency", "false"),
        ("MaxConcurrentMessages", "7"),
        ("OidcIssuer", "https://id.example"),
        ("OidcAudience", "web"),
    ];
    let template = load_project(&given).unwrap_or_else(|error| panic!("{error}"));
    let worker = template.functions.iter().find(|function| function.name == "worker").expect("worker");
    assert_eq!(worker.reserved_concurrency, None, "AWS::NoValue");
    assert_eq!(worker.event_sources[0].maximum_concurrency, Some(7));
    let authorizer = template.functions.iter().find(|function| function.name == "authorizer").expect("authorizer");
    assert_eq!(authorizer.environment["OIDC_ISSUER"], "https://id.example");
    assert_eq!(template.parameters["MaxConcurrentMessages"], "7");
}

#[test]
fn a_damaged_template_gives_problems_with_real_lines_and_never_a_panic() {
    let source = std::fs::read_to_string(project()).expect("infra/template.yaml");
    let lines: Vec<&str> = source.lines().collect();
    // The whole template is read for each, so not each line can be damaged. As the template changes, all lines have
    // their turn.
    for index in (source.len() % 4..lines.len()).step_by(4) {
        let without = [&lines[..index], &lines[index + 1..]].concat().join("\n");
        let halved =
            [&lines[..index], &[&lines[index][..lines[index].len() / 2]], &lines[index + 1..]].concat().join("\n");
        let emptied = lines[..index].join("\n");
        for damaged in [without, halved, emptied] {
            if let Err(TemplateError::Invalid { problems, .. }) =
                parse(&damaged, Path::new("t.yaml"), &BTreeMap::new(), &locals())
            {
                assert!(!problems.is_empty());
                for problem in problems {
                    assert!((1..=lines.len() + 1).contains(&problem.line), "{problem:?}");
                }
            }
        }
    }
}

#[test]
fn the_web_clients_config_fits_the_local_issuer_and_others() {
    let site = |given: &[(&str, &str)]| {
        load_project(given).unwrap_or_else(|error| panic!("{error}")).static_site.expect("a site")
    };
    let own = site(&[("MaxClients", "7")]);
    let limits = json!({
        "maxClients": 7, "leaseSeconds": 60, "firstMessageSeconds": 60,
        "maxPendingPerClient": 10, "maxTextBytes": 16384, "maxMediaBytes": 26_214_400,
    });
    assert_eq!(
        own.files["config.json"],
        json!({
            "websocketUrl": "wss://websocketapi.execute-api.eu-central-1.amazonaws.com/ws",
            "apiUrl": "https://httpapi.execute-api.eu-central-1.amazonaws.com",
            "auth": { "mode": "local", "issuer": locals().issuer, "clientId": "UserPoolClient" },
            "limits": limits,
        })
    );
    let policy = |site: &StaticSite| site.headers[0].1.clone();
    let sources = "connect-src 'self' https://httpapi.execute-api.eu-central-1.amazonaws.com \
                   wss://websocketapi.execute-api.eu-central-1.amazonaws.com https://s3.eu-central-1.amazonaws.com \
                   https://local-mediabucket.s3.eu-central-1.amazonaws.com http://127.0.0.1:8000 \
                   https://parley-httpapi.auth.eu-central-1.amazoncognito.com;";
    assert!(policy(&own).contains(sources), "{}", policy(&own));
    for never in ["unsafe-eval", "script-src 'self' 'unsafe-inline'", "*", "\n"] {
        assert!(!policy(&own).contains(never), "{never} in {}", policy(&own));
    }

    let storage = ("MediaEndpointUrl", "http://localhost:9000");
    let theirs = site(&[("OidcIssuer", "https://id.example/realms/x"), ("OidcAudience", "web"), storage]);
    let auth = json!({ "mode": "oidc", "issuer": "https://id.example/realms/x", "clientId": "web" });
    assert_eq!(theirs.files["config.json"]["auth"], auth);
    for sources in ["http://localhost:9000 https://id.example;", "img-src 'self' blob: http://localhost:9000;"] {
        assert!(policy(&theirs).contains(sources), "{}", policy(&theirs));
    }
}

#[test]
fn local_state_in_the_metadata_names_the_data_to_show() {
    let shown = load_project(&[("MaxClients", "7")]).unwrap_or_else(|error| panic!("{error}")).local_state;
    assert_eq!(shown.parameters["capacity"], "7");
    let leases = &shown.tables["leases"];
    assert_eq!((leases.table.as_str(), leases.expires.as_deref()), ("local-ConnectionsTable", Some("expires_at")));
    assert_eq!(leases.fields["slot"], "slot_no");
}
