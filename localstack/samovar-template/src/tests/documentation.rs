//! TEMPLATE.md against the schemas.

use crate::fields::Schema;
use crate::resources;

#[test]
fn every_property_and_type_that_is_ignored_is_in_the_documentation() {
    let text = include_str!("../../TEMPLATE.md");
    for schema in schemas() {
        for name in schema.names() {
            assert!(text.contains(&format!("`{name}`")), "{name} of {} is not in TEMPLATE.md", schema.subject);
        }
    }
    for name in crate::declarations::DEPLOYED_ONLY {
        assert!(text.contains(&format!("`{name}`")), "{name} is not in TEMPLATE.md");
    }
}

/// The schemas of all maps with properties.
fn schemas() -> Vec<&'static Schema> {
    let mut schemas = vec![
        &resources::FUNCTION,
        &resources::WEBSOCKET_API,
        &crate::declarations::RESOURCE,
        &crate::rules::RULE,
        &crate::rules::ASSERTION,
        &resources::policy::MANAGED_POLICY,
        &resources::queue::QUEUE,
        &resources::table::TABLE,
    ];
    schemas.extend([
        &resources::user_pool::USER_POOL,
        &resources::user_pool::USER_POOL_CLIENT,
        &resources::user_pool::USER_POOL_DOMAIN,
        &resources::websocket::ROUTE,
        &resources::websocket::ROUTE_RESPONSE,
    ]);
    schemas.extend(resources::bucket::SCHEMAS);
    schemas.extend(resources::response_headers::SCHEMAS);
    schemas.extend(crate::static_site::SCHEMAS);
    schemas.extend([
        &resources::event_source::SQS_EVENT,
        &resources::schedule::SCHEDULE_EVENT,
        &resources::websocket::AUTH,
        &resources::table::INDEX,
    ]);
    schemas.extend([
        &resources::HTTP_API,
        &resources::http_api::AUTH,
        &resources::http_api::AUTHORIZER,
        &resources::http_api::JWT_CONFIGURATION,
        &resources::http_api::CORS,
    ]);
    schemas.extend([&resources::http_event::HTTP_EVENT, &resources::http_event::EVENT_AUTH]);
    schemas
}
