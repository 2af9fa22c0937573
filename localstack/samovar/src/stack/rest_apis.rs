//! The REST APIs of a template on one host, where only the stage tells them apart.

use std::sync::Arc;

use anyhow::{Result, bail};
use samovar_template::Template;

use super::http_apis::TAKEN;
use crate::edge::Edge;
use crate::rest_api::Api;

pub(super) fn rest_apis(template: &Template, edge: &Edge) -> Result<Vec<Arc<Api>>> {
    check_stages(template)?;
    let apis = template.rest_apis.iter().map(|spec| {
        let place = (spec.api_id.clone(), spec.stage.clone());
        let keys = template.api_keys.iter().filter(|key| key.stages.contains(&place)).map(|key| key.value.clone());
        Arc::new(Api::new(spec.clone(), edge).with_keys(keys))
    });
    Ok(apis.collect())
}

/// Checks that the stages tell the APIs apart.
pub(super) fn check_stages(template: &Template) -> Result<()> {
    for (at, api) in template.rest_apis.iter().enumerate() {
        let own = (&api.logical_id, &api.stage);
        let websocket = template.websocket_apis.iter().map(|api| (&api.logical_id, &api.stage));
        let http = template.http_apis.iter().map(|api| (&api.logical_id, &api.stage));
        let buckets = template.buckets.iter().map(|bucket| (&bucket.logical_id, &bucket.name));
        let others = template.rest_apis[..at].iter().map(|api| (&api.logical_id, &api.stage));
        if let Some((other, stage)) = others.chain(websocket).chain(http).chain(buckets).find(|other| other.1 == own.1)
        {
            bail!("{other} and {} both have the path /{stage}; here all share one host, so they must differ", own.0);
        }
        if TAKEN.contains(&own.1.as_str()) {
            bail!("The REST API {} has the stage {}, which is a path of the local stack itself", own.0, own.1);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use samovar_template::{Bucket, RestApi};

    use super::*;

    fn api(logical_id: &str, stage: &str) -> RestApi {
        RestApi {
            logical_id: logical_id.to_owned(),
            api_id: logical_id.to_lowercase(),
            name: logical_id.to_owned(),
            stage: stage.to_owned(),
            stage_variables: BTreeMap::new(),
            cors: None,
            authorizers: BTreeMap::new(),
            api_key: None,
            binary_media_types: Vec::new(),
            routes: Vec::new(),
            mocks: Vec::new(),
            other_integrations: BTreeMap::new(),
        }
    }

    fn error(rest_apis: Vec<RestApi>, bucket: &str) -> Option<String> {
        let bucket = Bucket {
            logical_id: "B".into(),
            name: bucket.into(),
            cors: Vec::new(),
            expirations: Vec::new(),
            notifications: Vec::new(),
            event_bridge: false,
        };
        let template = Template { rest_apis, buckets: vec![bucket], ..Template::default() };
        check_stages(&template).err().map(|error| error.to_string())
    }

    #[test]
    fn the_stage_tells_the_apis_apart() {
        assert_eq!(error(vec![api("One", "v1"), api("Two", "v2")], "media"), None);
        let both = |names: &str, stage: &str| {
            Some(format!("{names} both have the path /{stage}; here all share one host, so they must differ"))
        };
        assert_eq!(error(vec![api("One", "v1"), api("Two", "v1")], "media"), both("One and Two", "v1"));
        assert_eq!(error(vec![api("One", "media")], "media"), both("B and One", "media"));
        let taken = "The REST API One has the stage _local, which is a path of the local stack itself";
        assert_eq!(error(vec![api("One", "_local")], "media").as_deref(), Some(taken));
    }
}
