//! TEMPLATE.md against the code: its list of properties is the schemas.

use crate::declarations::DEPLOYED_ONLY;
use crate::fields::Schema;
use crate::resource::TYPES;
use crate::resources::{
    api_key, bucket, code, esbuild, event, event_invoke, event_rule, event_source, event_source_mapping, function,
    function_url, http_api, http_event, integration, notification, policy, queue, raw_api, response_headers, rest_api,
    rest_event, schedule, simple_table, stream_source, table, table_keys, topic, trigger, user_pool, websocket,
};
use crate::{declarations, local_state, parameters, rules, static_site};

const DOCUMENT: &str = include_str!("../../TEMPLATE.md");

/// The maps of a template, in groups.
const GROUPS: [(&str, &[&Schema]); 13] = [
    (
        "the template",
        &[
            &crate::TEMPLATE,
            &parameters::SCHEMA,
            &rules::RULE,
            &rules::ASSERTION,
            &declarations::RESOURCE,
            &crate::OUTPUT,
        ],
    ),
    (
        "functions",
        &[
            &function::FUNCTION,
            &function::LAMBDA_FUNCTION,
            &function::ENVIRONMENT,
            &code::CODE,
            &code::CODE_URI,
            &esbuild::ESBUILD,
            &function_url::URL,
            &event_invoke::CONFIG,
            &event_invoke::RESOURCE,
            &event_invoke::DESTINATIONS,
            &event_invoke::DESTINATION,
            &event_invoke::DEAD_LETTERS,
            &event::EVENT,
        ],
    ),
    (
        "events of queues and streams",
        &[
            &event_source::SQS_EVENT,
            &stream_source::STREAM_EVENT,
            &event_source_mapping::EVENT_SOURCE_MAPPING,
            &event_source::SCALING_CONFIG,
            &stream_source::DESTINATION_CONFIG,
            &stream_source::ON_FAILURE,
            &event_source::FILTER_CRITERIA,
            &event_source::FILTER,
        ],
    ),
    (
        "other events",
        &[
            &event_rule::RULE_EVENT,
            &event_rule::EVENT_BUS,
            &event_rule::RULE,
            &event_rule::TARGET,
            &event_rule::TRANSFORMER,
            &schedule::RULE_EVENT,
            &schedule::SCHEDULE_EVENT,
            &schedule::SCHEDULE,
            &schedule::FLEXIBLE_TIME_WINDOW,
            &schedule::TARGET,
            &trigger::S3_EVENT,
            &notification::FILTER,
            &notification::KEY,
            &notification::RULE,
            &notification::NOTIFICATIONS,
            &notification::EVENT_BRIDGE,
            &notification::OF_FUNCTION,
            &notification::OF_QUEUE,
            &notification::OF_TOPIC,
            &trigger::SNS_EVENT,
        ],
    ),
    (
        "WebSocket APIs of SAM",
        &[
            &websocket::WEBSOCKET_API,
            &websocket::AUTH,
            &websocket::ROUTE,
            &websocket::ROUTE_SETTINGS,
            &websocket::ROUTE_RESPONSE,
        ],
    ),
    (
        "HTTP APIs of SAM",
        &[
            &http_api::HTTP_API,
            &http_api::AUTH,
            &http_api::AUTHORIZER,
            &http_api::JWT_CONFIGURATION,
            &http_api::LAMBDA_AUTHORIZER,
            &http_api::IDENTITY,
            &http_api::CORS,
            &http_event::HTTP_EVENT,
            &http_event::EVENT_AUTH,
        ],
    ),
    (
        "REST APIs of SAM",
        &[
            &rest_api::REST_API,
            &rest_api::AUTH,
            &rest_api::USAGE_PLAN,
            &rest_api::COGNITO,
            &rest_api::LAMBDA,
            &rest_api::IDENTITY,
            &rest_api::CORS,
            &rest_event::REST_EVENT,
            &rest_event::EVENT_AUTH,
        ],
    ),
    (
        "APIs of CloudFormation",
        &[
            &api_key::API_KEY,
            &api_key::USAGE_PLAN,
            &api_key::API_STAGE,
            &api_key::USAGE_PLAN_KEY,
            &raw_api::API,
            &raw_api::ROUTE,
            &raw_api::INTEGRATION,
            &integration::INTEGRATION_RESPONSE,
            &raw_api::STAGE,
            &raw_api::AUTHORIZER,
            &raw_api::MODEL,
        ],
    ),
    (
        "tables",
        &[
            &table::TABLE,
            &table::INDEX,
            &table_keys::ATTRIBUTE,
            &table_keys::KEY,
            &table::PROJECTION,
            &table::THROUGHPUT,
            &table::TIME_TO_LIVE,
            &table::STREAM,
            &simple_table::SIMPLE_TABLE,
            &simple_table::PRIMARY_KEY,
        ],
    ),
    (
        "queues, topics and buckets",
        &[
            &queue::QUEUE,
            &queue::REDRIVE_POLICY,
            &topic::TOPIC,
            &topic::ITEM,
            &topic::SUBSCRIPTION,
            &bucket::BUCKET,
            &bucket::CORS,
            &bucket::CORS_RULE,
            &bucket::LIFECYCLE,
            &bucket::LIFECYCLE_RULE,
            &bucket::ABORT,
        ],
    ),
    (
        "permissions",
        &[
            &policy::MANAGED_POLICY,
            &policy::POLICY,
            &policy::ROLE,
            &policy::ROLE_POLICY,
            &policy::DOCUMENT,
            &policy::STATEMENT,
        ],
    ),
    ("user pools", &[&user_pool::USER_POOL, &user_pool::USER_POOL_CLIENT, &user_pool::USER_POOL_DOMAIN]),
    (
        "the web site and the state",
        &[
            &response_headers::POLICY,
            &response_headers::CONFIG,
            &response_headers::SECURITY,
            &response_headers::CONTENT_SECURITY,
            &response_headers::CONTENT_TYPE,
            &response_headers::FRAME,
            &response_headers::REFERRER,
            &response_headers::TRANSPORT,
            &response_headers::CUSTOM,
            &response_headers::CUSTOM_HEADER,
            &static_site::SITE,
            &static_site::BUILD,
            &static_site::VALUE,
            &local_state::LOCAL_STATE,
            &local_state::VIEW,
        ],
    ),
];

#[test]
fn the_list_of_properties_is_exactly_that_of_the_code() {
    let names = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let mut list = String::from("| map | needed | understood | no effect here |\n|---|---|---|---|\n");
    for (group, schemas) in GROUPS {
        list.push_str(&format!("| **{group}** | | | |\n"));
        for Schema { subject, required, optional, ignored } in schemas {
            list.push_str(&format!("| {subject} | {} | {} | {} |\n", names(required), names(optional), names(ignored)));
        }
    }
    assert!(DOCUMENT.contains(&list), "TEMPLATE.md must have this list:\n{list}");
}

#[test]
fn every_schema_is_in_the_list() {
    let listed: usize = GROUPS.iter().map(|(_, schemas)| schemas.len()).sum();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = [folder.clone(), folder.join("resources")].into_iter().flat_map(|folder| {
        std::fs::read_dir(folder).expect("the sources").map(|entry| entry.expect("an entry").path())
    });
    let texts = files.filter(|path| path.is_file()).map(|path| std::fs::read_to_string(path).expect("a source file"));
    let declared: usize = texts.map(|text| text.matches(": Schema =").count()).sum();
    assert_eq!(listed, declared, "schemas that are listed, and those in the sources");
}

#[test]
fn every_type_is_in_the_documentation() {
    for name in TYPES.iter().map(|(name, _)| *name).chain(DEPLOYED_ONLY) {
        assert!(DOCUMENT.contains(&format!("`{name}`")), "{name} is not in TEMPLATE.md");
    }
}
