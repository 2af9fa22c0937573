//! The WebSocket APIs of a template on one host, where only the stage tells them apart.

use std::sync::Arc;

use anyhow::{Result, bail};
use samovar_services::Services;
use samovar_template::{Backend, Integration, IntegrationRole, Template};
use tokio_util::task::TaskTracker;

use crate::edge::Edge;
use crate::options::Options;
use crate::websocket::integration::Backends;
use crate::websocket::registry::Registry;
use crate::websocket::{Api, Limits};

/// Checks that the stages tell the APIs apart.
pub(super) fn check_stages(template: &Template) -> Result<()> {
    for (at, api) in template.websocket_apis.iter().enumerate() {
        if template.websocket_apis[..at].iter().any(|other| other.stage == api.stage) {
            bail!(
                "Two WebSocket APIs have the stage {}; here the stage is the path, so give them different StageNames",
                api.stage
            );
        }
        if template.buckets.iter().any(|bucket| bucket.name == api.stage) {
            bail!("A bucket has the name of the stage {}; here both are paths, so rename one of them", api.stage);
        }
    }
    Ok(())
}

/// The roles as which integrations call services.
pub(super) fn roles(template: &Template) -> impl Iterator<Item = &IntegrationRole> {
    let routes = template.websocket_apis.iter().flat_map(|api| api.routes.values());
    routes.filter_map(|route| match &route.integration {
        Integration::Mapped(mapped) => match &mapped.backend {
            Backend::Service { role, .. } => Some(role),
            Backend::Mock | Backend::Function(_) | Backend::Http { .. } => None,
        },
        Integration::Proxy(_) => None,
    })
}

pub(super) fn websocket_apis(
    template: &Template,
    options: &Options,
    edge: &Edge,
    services: &Arc<Services>,
) -> Result<Vec<Arc<Api>>> {
    check_stages(template)?;
    let backends = Backends { services: Some(Arc::clone(services)), ..Backends::default() };
    let mut apis: Vec<Arc<Api>> = Vec::new();
    for spec in &template.websocket_apis {
        let place = (spec.api_id.clone(), spec.stage.clone());
        let limits = Limits { idle: options.websocket_idle, life: options.websocket_life, ..Limits::default() };
        apis.push(Arc::new(Api {
            spec: spec.clone(),
            domain: edge.domain.clone(),
            region: edge.region.clone(),
            account_id: edge.account_id.clone(),
            limits,
            in_order: options.websocket_in_order,
            invoker: Arc::clone(&edge.invoker),
            keys: edge.keys.clone(),
            api_keys: template
                .api_keys
                .iter()
                .filter(|key| key.stages.contains(&place))
                .map(|key| key.value.clone())
                .collect(),
            backends: backends.clone(),
            door: edge.door.clone(),
            registry: Registry::default(),
            tasks: TaskTracker::new(),
        }));
    }
    Ok(apis)
}
