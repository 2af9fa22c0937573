//! The call of a route's integration, for at most its time: a function behind a proxy, or something else whose request
//! and answer are mapped ([data transformations for WebSocket APIs]).
//!
//! A mapped integration goes through these steps: [`request`] makes the body and the parameters, [`backend`] calls a
//! function, a service ([`form`]) or an address, and [`response`] maps the answer.
//!
//! [data transformations for WebSocket APIs]:
//!     https://docs.aws.amazon.com/apigateway/latest/developerguide/websocket-api-data-transformations.html

mod backend;
mod form;
mod request;
mod response;

pub(crate) use backend::{Backends, is_served};
pub(super) use request::{scope, value};

use std::sync::Arc;

use samovar_template::{Backend, Integration, MappedIntegration, Route};
use serde_json::Value;

use super::Api;
use super::answer::{self, Answer};
use crate::invoke::{self, IntegrationError};

/// The name of an integration for messages and for the plan of faults.
pub(super) fn name(route: &Route) -> String {
    match &route.integration {
        Integration::Proxy(function) => function.clone(),
        Integration::Mapped(mapped) => mapped.backend.name(),
    }
}

/// Calls the integration of a route with an event. What takes longer than its time goes on, without effect here.
pub(super) async fn call(api: &Arc<Api>, route: &Route, event: &Value) -> Result<Answer, IntegrationError> {
    match &route.integration {
        Integration::Proxy(function) => {
            let payload = event.to_string().into();
            let answered =
                invoke::within(route.integration_timeout, &api.invoker, &api.tasks, function, payload).await?;
            let answered = serde_json::from_slice(&answered).map_err(|_| IntegrationError::MalformedResponse)?;
            answer::read(&answered).map_err(|why| IntegrationError::Mapping(format!("{function}: {why}")))
        }
        Integration::Mapped(mapped) => {
            let after = route.integration_timeout;
            let called = call_mapped(api, mapped, event);
            tokio::time::timeout(after, called).await.unwrap_or(Err(IntegrationError::IntegrationTimeout { after }))
        }
    }
}

async fn call_mapped(api: &Arc<Api>, mapped: &MappedIntegration, event: &Value) -> Result<Answer, IntegrationError> {
    let scope = request::scope(event, &api.spec.stage_variables);
    let request = request::make(mapped, &scope)?;
    let reply = match &mapped.backend {
        Backend::Mock => backend::mock(&request)?,
        Backend::Function(function) => backend::function(api, function, request).await?,
        Backend::Service { service, action, path, role } => {
            backend::service(api, (service, action.as_deref(), path), role, request).await?
        }
        Backend::Http { method, url, .. } => backend::http(api, method, url, request, &scope).await?,
    };
    if reply.status >= 400 {
        let (name, status) = (mapped.backend.name(), reply.status);
        tracing::warn!("{name} answered {status} with {} bytes", reply.body.len());
        tracing::debug!("{name} answered {}", String::from_utf8_lossy(&reply.body));
    }
    response::map(mapped, reply, scope)
}
