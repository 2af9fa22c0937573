//! `--debug FUNCTION`: what changes for the function that is debugged.
//!
//! Nobody must be in a hurry at a breakpoint, so the time-outs of the function and of its integrations become a day.
//! And there is one process at a time, because a debugger listens at one port or is attached to one process.

use std::time::Duration;

use anyhow::{Result, bail};
use samovar_template::{Function, Template};

use crate::build::Debugged;
use crate::options::Options;

/// What stands for "no time-out".
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Changes the function that is to be debugged, and the routes that lead to it.
///
/// # Errors
/// There is no such function.
pub(super) fn apply(template: &mut Template, options: &Options) -> Result<Option<Debugged>> {
    let Some(wanted) = &options.debug else { return Ok(None) };
    let is_wanted =
        |function: &Function| [&function.logical_id, &function.name, &function.function_name].contains(&wanted);
    let Some(at) = template.functions.iter().position(is_wanted) else {
        let names: Vec<_> = template.functions.iter().map(|function| function.logical_id.as_str()).collect();
        bail!("There is no function {wanted} to debug. The template has {}", names.join(", "));
    };
    let function = &mut template.functions[at];
    function.timeout = DAY;
    function.reserved_concurrency = Some(1);
    let name = function.name.clone();
    for route in template.websocket_apis.iter_mut().flat_map(|api| api.routes.values_mut()) {
        if route.function() == Some(&name) {
            route.integration_timeout = DAY;
        }
    }
    for route in template.http_apis.iter_mut().flat_map(|api| &mut api.routes) {
        if route.function == name {
            route.integration_timeout = DAY;
        }
    }
    for route in template.rest_apis.iter_mut().flat_map(|api| &mut api.routes) {
        if route.function == name {
            route.integration_timeout = DAY;
        }
    }
    Ok(Some(Debugged { function: name, port: options.debug_port }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Defaults;
    use crate::stack::urls::Urls;
    use crate::stack::{listen, read_template};

    const TEMPLATE: &str = "
Transform: AWS::Serverless-2016-10-31
Globals: {Function: {CodeUri: ., Handler: app.handler, Runtime: python3.13, Timeout: 5}}
Resources:
  Socket:
    Type: AWS::Serverless::WebSocketApi
    Properties:
      RouteSelectionExpression: $request.body.action
      StageName: ws
      Routes: {$default: {FunctionArn: !GetAtt One.Arn}, $connect: {FunctionArn: !GetAtt Two.Arn}}
  Http: {Type: AWS::Serverless::HttpApi}
  One:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: first
      Events:
        Any: {Type: HttpApi, Properties: {ApiId: !Ref Http, Method: GET, Path: /one}}
        Rest: {Type: Api, Properties: {Method: GET, Path: /one}}
  Two:
    Type: AWS::Serverless::Function
    Properties:
      Events:
        Any: {Type: HttpApi, Properties: {ApiId: !Ref Http, Method: GET, Path: /two}}
        Rest: {Type: Api, Properties: {Method: GET, Path: /two}}
";

    async fn apply_to(debugged: &str) -> Result<(Template, Option<Debugged>)> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("template.yaml");
        std::fs::write(&path, TEMPLATE)?;
        let path = path.display().to_string();
        let arguments = ["samovar", "--template", &path, "--debug", debugged, "--debug-port", "5000"];
        let options = Options::from_args(arguments, &Defaults::default())?;
        let (public, internal) = (listen(0)?, listen(0)?);
        let mut template = read_template(&options, &Urls::of(&public, &internal, &options)?)?;
        let applied = apply(&mut template, &options)?;
        Ok((template, applied))
    }

    #[tokio::test]
    async fn the_function_has_one_process_and_neither_it_nor_its_routes_have_a_time_out() {
        for name in ["One", "first"] {
            let (template, debugged) = apply_to(name).await.unwrap();
            assert_eq!(debugged, Some(Debugged { function: "One".to_owned(), port: Some(5000) }));
            let of = |name: &str| template.functions.iter().find(|function| function.logical_id == name).unwrap();
            assert_eq!((of("One").timeout, of("One").reserved_concurrency), (DAY, Some(1)));
            assert_eq!((of("Two").timeout, of("Two").reserved_concurrency), (Duration::from_secs(5), None));
            let sockets = &template.websocket_apis[0].routes;
            assert_eq!(sockets["$default"].integration_timeout, DAY);
            assert!(sockets["$connect"].integration_timeout < DAY);
            for route in &template.http_apis[0].routes {
                assert_eq!(route.integration_timeout == DAY, route.function == "One", "{route:?}");
            }
            assert_eq!(template.rest_apis[0].routes.len(), 2);
            for route in &template.rest_apis[0].routes {
                assert_eq!(route.integration_timeout == DAY, route.function == "One", "{route:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_function_that_does_not_exist_is_an_error_that_names_those_that_do() {
        let error = apply_to("Three").await.unwrap_err().to_string();
        assert_eq!(error, "There is no function Three to debug. The template has One, Two");
    }
}
