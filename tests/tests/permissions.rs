//! A function may make the calls that its policies in the template allow, and no others.

use e2e::{Client, Deployment, Stack, StackOptions, Template, media, new_id};
use serde_json::{Value, json};

/// A stack whose template lacks a permission of this function, which is the resource `id`.
async fn without((function, id): (&str, &str), permission: &str, by: &str) -> (Stack, Template) {
    let template = Template::default().with(id, permission, by);
    let path = template.path();
    let options = StackOptions::default().param("MockLatencyMs", 0).refused(function);
    (options.arg("--template").arg(path.to_str().expect("UTF-8")).start().await, template)
}

const SEND_MESSAGE: (&str, &str) = ("send_message", "SendMessage");

/// The line of the log that says which statement is needed.
async fn needed(stack: &Stack, function: &str, action: &str) -> String {
    let line = || {
        let log = stack.log();
        let wanted = |line: &&str| line.contains(&format!("{function} may not do this")) && line.contains(action);
        log.lines().find(wanted).map(str::to_owned)
    };
    stack.until("the refusal is logged", |_| line().is_some()).await;
    line().expect("it was there")
}

async fn a_message_is_an_internal_error(stack: &Stack) {
    let mut client = Client::connect(stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    client.send_message(&new_id(), &conversation, "hello").await;
    let error = client.receive_type("error").await;
    assert_eq!(error["code"], "internal", "{error}");
    client.close().await;
}

#[tokio::test]
async fn a_message_whose_function_may_not_queue_it_is_an_internal_error_and_the_log_says_which_statement_is_needed() {
    let (stack, _template) = without(SEND_MESSAGE, "Action: sqs:SendMessage", "Action: sqs:GetQueueUrl").await;
    a_message_is_an_internal_error(&stack).await;
    let line = needed(&stack, "send_message", "sqs:SendMessage").await;
    let statement = "{ Effect: Allow, Action: sqs:SendMessage, Resource: arn:aws:sqs:us-east-1:000000000000:";
    assert!(line.contains(statement) && line.contains("messages.fifo }"), "{line}");
    assert!(!stack.log_if_any().contains("hello"), "no text of a message is logged");
}

#[tokio::test]
async fn a_transaction_needs_the_permission_for_each_of_its_parts() {
    let (stack, _template) = without(SEND_MESSAGE, "                - dynamodb:PutItem\n", "").await;
    a_message_is_an_internal_error(&stack).await;
    assert!(needed(&stack, "send_message", "dynamodb:PutItem").await.contains(":table/"));
}

#[tokio::test]
async fn without_the_permission_to_list_a_bucket_a_missing_upload_is_not_told_from_a_forbidden_one() {
    let missing = format!("{}.png", new_id());
    for (permission, code) in [("s3:ListBucket", "media_not_found"), ("s3:GetBucketLocation", "internal")] {
        let (stack, _template) = without(SEND_MESSAGE, "Action: s3:ListBucket", &format!("Action: {permission}")).await;
        let mut client = Client::connect(&stack, "alice").await;
        let conversation = client.rest.new_conversation().await;
        let frame = json!({ "action": "sendMessage", "id": new_id(), "conversationId": conversation, "text": "",
                            "media": missing });
        client.send(&frame).await;
        let error = client.receive_type("error").await;
        assert_eq!(error["code"], code, "{permission}: {error}\n{}", stack.log());
        client.close().await;
    }
}

#[tokio::test]
async fn an_address_that_a_function_signs_allows_what_the_function_may_do() {
    let upload = "              Action: s3:PutObject\n              Resource: !Sub ${MediaBucket.Arn}/uploads/*";
    let (stack, _template) = without(("rest_api", "RestApi"), upload, &upload.replace("uploads", "elsewhere")).await;
    let rest = stack.rest("alice").await;
    let (status, answer) = media::Upload::new(&rest, "image/png", 100).await.send(media::fixture("picture.png")).await;
    assert!(status == 403 && answer.contains("<Code>AccessDenied</Code>"), "{status} {answer}");
    needed(&stack, "rest_api", "s3:PutObject").await;
}

#[tokio::test]
async fn a_worker_that_may_not_post_to_connections_answers_and_tells_nobody() {
    let (stack, _template) = without(("worker", "Worker"), "/ws/POST/@connections/*", "/ws/GET/@connections/*").await;
    let mut client = Client::connect(&stack, "alice").await;
    let conversation = client.rest.new_conversation().await;
    client.send_message(&new_id(), &conversation, "hello").await;
    client.receive_type("accepted").await;
    let line = needed(&stack, "worker", "execute-api:ManageConnections").await;
    assert!(line.contains("/ws/POST/@connections/"), "{line}");
    client.close().await;
}

#[tokio::test]
async fn without_the_check_functions_may_do_everything() {
    let template = Template::default().with("SendMessage", "Action: sqs:SendMessage", "Action: sqs:GetQueueUrl");
    let path = template.path();
    let options = StackOptions::default().param("MockLatencyMs", 0).arg("--no-iam").arg("--template");
    let stack = options.arg(path.to_str().expect("UTF-8")).start().await;
    let mut client = Client::connect(&stack, "alice").await;
    client.ask_afresh("hello").await;
    assert!(stack.state().await.get("permissions").is_none());
    client.close().await;
}

/// Otherwise one of the two could be removed and nothing would notice.
#[test]
fn no_permission_of_a_function_covers_what_another_one_allows() {
    let deployment = Deployment::new(Template::default().text(), &[]).expect("a template");
    let list = |value: &Value| -> Vec<String> {
        let one = std::slice::from_ref(value);
        let all = value.as_array().map_or(one, Vec::as_slice);
        all.iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
    };
    let mut known = 0;
    for (id, function) in deployment.resources().expect("it can be deployed") {
        let policies = function["Properties"]["Policies"].as_array().into_iter().flatten();
        let statements = policies.flat_map(|policy| policy["Statement"].as_array().into_iter().flatten());
        let mut grants: Vec<(String, String)> = Vec::new();
        for statement in statements.filter(|_| function["Type"] == "AWS::Serverless::Function") {
            let resources = list(&statement["Resource"]);
            let of = |action: String| resources.iter().map(move |resource| (action.clone(), resource.clone()));
            grants.extend(list(&statement["Action"]).into_iter().flat_map(of));
        }
        for (at, (action, resource)) in grants.iter().enumerate() {
            assert!(!action.contains('*'), "{id}: {action} is more than one action");
            let stem = resource.trim_end_matches('*');
            assert!(!stem.contains('*'), "{id}: {resource} is more than one prefix");
            let others = grants.iter().enumerate().filter(|(other, _)| *other != at);
            let covered = others.map(|(_, other)| other).find(|(other, of)| {
                other == action && (of == resource || resource.ends_with('*') && of.starts_with(stem))
            });
            assert_eq!(covered, None, "{id}: {action} on {resource} covers this too");
        }
        known += grants.len();
    }
    assert!(known > 60, "{known}");
}
