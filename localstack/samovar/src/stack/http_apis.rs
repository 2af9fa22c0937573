//! The HTTP APIs of a template on one host. On AWS each has a host name of its own. Here only the stage tells them
//! apart, so ambiguous stages are refused at the start.

use std::sync::Arc;

use anyhow::{Result, bail};

use crate::edge::Edge;
use crate::http_api::Api;
use samovar_template::{HttpApi, Template};

/// First segments of the local stack's own paths, which precede those of any API.
pub(super) const TAKEN: [&str; 3] = ["_aws", crate::function_url::PATH, "_local"];

pub(super) fn http_apis(template: &Template, edge: &Edge) -> Result<Vec<Arc<Api>>> {
    check_stages(template)?;
    let apis = template.http_apis.iter().map(|spec| Arc::new(Api::new(spec.clone(), edge)));
    Ok(apis.collect())
}

/// Checks that the stages tell the APIs apart.
pub(super) fn check_stages(template: &Template) -> Result<()> {
    let websocket_stages: Vec<&str> = template.websocket_apis.iter().map(|api| api.stage.as_str()).collect();
    check(&template.http_apis, &websocket_stages)
}

fn check(apis: &[HttpApi], websocket_stages: &[&str]) -> Result<()> {
    for (at, HttpApi { logical_id, stage, .. }) in apis.iter().enumerate() {
        let other = apis[..at].iter().find(|other| other.stage == *stage);
        match other {
            Some(other) if stage == "$default" => bail!(
                "The HTTP APIs {} and {logical_id} both have the stage $default; here all APIs share one host, so \
                 give one a StageName, which its paths then begin with",
                other.logical_id
            ),
            Some(other) => bail!(
                "The HTTP APIs {} and {logical_id} both have the stage {stage}; here the stage is the path, so they \
                 must differ",
                other.logical_id
            ),
            None => {}
        }
        if websocket_stages.contains(&stage.as_str()) {
            bail!(
                "The HTTP API {logical_id} and a WebSocket API both have the stage {stage}; here the stage is the \
                 path, so they must differ"
            );
        }
        if TAKEN.contains(&stage.as_str()) {
            bail!(
                "The HTTP API {logical_id} has the stage {stage}, \
                 which is a path of the local stack itself: choose another stage"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn api(logical_id: &str, stage: &str) -> HttpApi {
        HttpApi {
            logical_id: logical_id.to_owned(),
            api_id: logical_id.to_lowercase(),
            name: logical_id.to_owned(),
            stage: stage.to_owned(),
            stage_variables: BTreeMap::new(),
            cors: None,
            authorizers: BTreeMap::new(),
            lambda_authorizers: BTreeMap::new(),
            routes: Vec::new(),
            other_integrations: BTreeMap::new(),
        }
    }

    #[test]
    fn apis_whose_paths_can_be_told_apart_are_taken() {
        check(&[api("A", "$default"), api("B", "v1"), api("C", "v2")], &["ws"]).expect("they can be told apart");
    }

    #[test]
    fn two_default_stages_are_an_error_that_says_what_to_do() {
        let error = check(&[api("A", "$default"), api("B", "$default")], &[]).expect_err("ambiguous").to_string();
        assert!(error.starts_with("The HTTP APIs A and B both") && error.contains("give one a StageName"), "{error}");
    }

    #[test]
    fn a_stage_that_is_the_path_of_another_is_an_error() {
        for (apis, websocket, named) in [
            (vec![api("A", "v1"), api("B", "v1")], "ws", "B"),
            (vec![api("A", "ws")], "ws", "A"),
            (vec![api("A", "_local")], "ws", "A"),
        ] {
            let error = check(&apis, &[websocket]).expect_err("ambiguous").to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
