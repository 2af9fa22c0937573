//! What a template declares and the stack does not serve. The reader understands more than is served, so this is the
//! one list of the difference. `samovar check` shows it, and a stack does not start with it unless it may leave it out.

use samovar_template::{
    Backend, BuildMethod, Code, Function, HttpApi, Integration, RestApi, RestAuthorizer, Target, Template,
    TemplateProblem, Trigger, WebSocketApi,
};

use crate::websocket::integration::is_served;

use super::{http_apis, rest_apis, websocket_apis};

/// The beginnings of the runtimes' names.
const LANGUAGES: [&str; 4] = ["go1.x", "nodejs", "provided", "python"];

/// Everything that is not served, in the order of the lines. The functions may run `elsewhere`.
pub(crate) fn unserved(template: &Template, elsewhere: bool) -> Vec<TemplateProblem> {
    let mut found = Found { template, problems: Vec::new() };
    template.rest_apis.iter().for_each(|api| found.rest_api(api));
    for function in &template.functions {
        if let Some(why) = cannot_run(function).filter(|_| !elsewhere) {
            found.add(&function.logical_id, &why);
        }
        found.function(function);
    }
    template.http_apis.iter().for_each(|api| found.http_api(api));
    template.websocket_apis.iter().for_each(|api| found.websocket_api(api));
    found.rules();
    found.topics();
    found.problems.sort();
    found.problems
}

/// What keeps the APIs of a template from being served on one host. Nothing of it can be left out.
pub(crate) fn conflicts(template: &Template) -> Vec<TemplateProblem> {
    let checks =
        [http_apis::check_stages(template), rest_apis::check_stages(template), websocket_apis::check_stages(template)];
    let wrong = checks.into_iter().filter_map(Result::err);
    wrong.map(|error| TemplateProblem { line: 1, message: error.to_string() }).collect()
}

/// Removes the functions that can't run, so that the others can.
pub(super) fn leave_out(template: &mut Template) {
    template.functions.retain(|function| cannot_run(function).is_none());
}

/// The reason why a function can't run here.
fn cannot_run(function: &Function) -> Option<String> {
    let known = |name: &str| LANGUAGES.iter().any(|own| name.starts_with(own));
    match (&function.code, &function.build_method) {
        (Code::Image(_), _) => Some("container images are not run here".to_owned()),
        (Code::Elsewhere(uri), _) => Some(format!("its code is at {uri}, which is not on this machine")),
        // Lambda takes such code for no other runtime.
        (Code::Inline(_), _) if ["go", "provided"].iter().any(|own| function.runtime.starts_with(own)) => {
            Some("InlineCode is only for nodejs* and python*".to_owned())
        }
        (Code::Inline(_), BuildMethod::None) if known(&function.runtime) => None,
        (_, BuildMethod::Esbuild(_)) if !function.runtime.starts_with("nodejs") => {
            Some(format!("the BuildMethod esbuild is not for the Runtime {}", function.runtime))
        }
        (Code::Folder | Code::Inline(_), BuildMethod::Other(method)) => {
            Some(format!("the BuildMethod {method} is not run here"))
        }
        (Code::Folder | Code::Inline(_), _) if !known(&function.runtime) => {
            Some(format!("the Runtime {} is not run here", function.runtime))
        }
        (Code::Inline(_), _) => Some("InlineCode with a BuildMethod is not run here".to_owned()),
        (Code::Folder, _) => None,
    }
}

struct Found<'a> {
    template: &'a Template,
    problems: Vec<TemplateProblem>,
}

impl Found<'_> {
    fn add(&mut self, logical_id: &str, what: &str) {
        // A resource that SAM generates has the line of none, and stands at the beginning.
        let line = self.template.lines.get(logical_id).copied().unwrap_or(1);
        self.problems.push(TemplateProblem { line, message: format!("{logical_id}: {what}") });
    }

    fn function(&mut self, function: &Function) {
        let id = &function.logical_id;
        for trigger in &function.triggers {
            let what = match trigger {
                Trigger::DynamoDb(source) => match &source.on_failure {
                    Some(arn) if !self.template.queues.iter().any(|queue| queue.arn == *arn) => {
                        format!("discarded records are not sent to the topic {arn} here")
                    }
                    _ => continue,
                },
                Trigger::S3 { .. } | Trigger::Sns { .. } => continue,
            };
            self.add(id, &what);
        }
    }

    fn http_api(&mut self, api: &HttpApi) {
        let id = &api.logical_id;
        for (route, integration) in &api.other_integrations {
            self.add(id, &format!("the route {route} has an integration of the type {integration}, not served here"));
        }
    }

    fn rest_api(&mut self, api: &RestApi) {
        let id = &api.logical_id;
        let place = (api.api_id.clone(), api.stage.clone());
        let has_keys = self.template.api_keys.iter().any(|key| key.stages.contains(&place));
        for (route, integration) in &api.other_integrations {
            self.add(id, &format!("the route {route} has an integration of the type {integration}, not served here"));
        }
        for route in &api.routes {
            if let Some(needed) = &route.authorization
                && let Some(RestAuthorizer::Token { validation: Some(expression), .. }) =
                    api.authorizers.get(&needed.authorizer)
                && regex_lite::Regex::new(expression).is_err()
            {
                let (key, name) = (&route.key, &needed.authorizer);
                let why = "whose ValidationExpression can't be evaluated here";
                self.add(id, &format!("the route {key} needs the authorizer {name}, {why}"));
            }
            if route.api_key_required && api.api_key.is_none() && !has_keys {
                let why = "and no usage plan of the template has one for it";
                self.add(id, &format!("the route {} needs an API key, {why}", route.key));
            }
        }
    }

    fn websocket_api(&mut self, api: &WebSocketApi) {
        let id = &api.logical_id;
        let place = (api.api_id.clone(), api.stage.clone());
        let has_keys = self.template.api_keys.iter().any(|key| key.stages.contains(&place));
        for (key, _) in api.routes.iter().filter(|(_, route)| route.api_key_required && !has_keys) {
            self.add(
                id,
                &format!("the route {key} needs an API key, and no usage plan of the template has one for it"),
            );
        }
        for (key, route) in &api.routes {
            if let Integration::Mapped(mapped) = &route.integration
                && let Backend::Service { service, action, .. } = &mapped.backend
                && !is_served(service, action.as_deref())
            {
                let called = mapped.backend.name();
                self.add(id, &format!("the route {key} calls {called}, which integrations can't call here"));
            }
        }
    }

    fn rules(&mut self) {
        for rule in &self.template.event_rules {
            // They need a message group.
            let fifo = |target: &Target| matches!(target, Target::Queue(queue) if queue.ends_with(".fifo"));
            if rule.targets.iter().any(|target| fifo(&target.target)) {
                self.add(&rule.logical_id, "events are not sent to FIFO queues here");
            }
        }
    }

    fn topics(&mut self) {
        let template = self.template;
        for topic in template.topics.iter().filter(|topic| topic.name.ends_with(".fifo")) {
            self.add(&topic.logical_id, "FIFO topics are not served here");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    const FUNCTION: &str = "CodeUri: ., Handler: bootstrap, Runtime: provided.al2023";
    const CARGO: &str = "Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: f}}";

    const STREAMED: &str = "  T: {Type: AWS::DynamoDB::Table, Properties: {BillingMode: PAY_PER_REQUEST, \
         AttributeDefinitions: [{AttributeName: a, AttributeType: S}], \
         KeySchema: [{AttributeName: a, KeyType: HASH}], \
         StreamSpecification: {StreamViewType: NEW_IMAGE}}}\n";

    fn template(resources: &str) -> Template {
        let source = format!("Transform: AWS::Serverless-2016-10-31\nResources:\n{resources}");
        let locals = crate::stack::locals("http://127.0.0.1/sqs", "http://127.0.0.1/oidc", false);
        let read = samovar_template::parse(&source, Path::new("t.yaml"), &BTreeMap::new(), &locals);
        read.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The function `F` in line 3 with more properties, and other resources from line 4 on.
    fn messages(properties: &str, more: &str) -> Vec<(usize, String)> {
        let function =
            format!("  F: {{Type: AWS::Serverless::Function, {CARGO}, Properties: {{{FUNCTION}, {properties}}}}}\n");
        let unserved = unserved(&template(&format!("{function}{more}")), false);
        unserved.into_iter().map(|problem| (problem.line, problem.message)).collect()
    }

    #[test]
    fn a_template_that_is_served_has_no_findings() {
        let api = "FunctionUrlConfig: {AuthType: NONE}, Events: {E: {Type: HttpApi}, S: {Type: Schedule, Properties: \
                   {Schedule: cron(0 12 * * ? *)}}, D: {Type: DynamoDB, Properties: \
                   {Stream: !GetAtt T.StreamArn, StartingPosition: LATEST, DestinationConfig: \
                   {OnFailure: {Destination: !GetAtt Q.Arn}}}}}";
        let more = "  O: {Type: AWS::SNS::Topic}\n  Q: {Type: AWS::SQS::Queue}\n".to_owned() + STREAMED;
        assert_eq!(messages(api, &more), []);
    }

    #[test]
    fn each_thing_that_is_not_served_is_named_with_its_line() {
        let socket = |route: &str| {
            format!(
                "  W: {{Type: AWS::Serverless::WebSocketApi, Properties: {{RouteSelectionExpression: \
                 $request.body.a, Routes: {{$connect: {{FunctionArn: !GetAtt F.Arn, {route}}}}}, \
                 Auth: {{AuthType: AWS_IAM}}}}}}\n"
            )
        };
        let workflow = "  W: {Type: AWS::ApiGatewayV2::Api, Properties: {Name: w, ProtocolType: WEBSOCKET, \
                    RouteSelectionExpression: $request.body.a}}\n  \
                    R: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref W, RouteKey: ping, \
                    Target: !Sub 'integrations/${I}'}}\n  \
                    I: {Type: AWS::ApiGatewayV2::Integration, Properties: {ApiId: !Ref W, IntegrationType: AWS, \
                    CredentialsArn: 'arn:aws:iam::1:role/r', \
                    IntegrationUri: 'arn:aws:apigateway:us-east-1:states:action/StartExecution'}}\n";
        let expression = "  R: {Type: AWS::Serverless::Api, Properties: {StageName: v1, Auth: {DefaultAuthorizer: L, \
                          Authorizers: {L: {FunctionArn: !GetAtt F.Arn, Identity: {ValidationExpression: '(?<!a)b'}}, \
                          M: {FunctionArn: !GetAtt F.Arn, Identity: {ValidationExpression: a.b}}}}}}\n";
        for (properties, more, expected) in [
            (
                "Events: {E: {Type: Api, Properties: {RestApiId: !Ref R, Path: /, Method: get}}, O: {Type: Api, \
                 Properties: {RestApiId: !Ref R, Path: /o, Method: get, Auth: {Authorizer: M}}}}",
                expression.to_owned(),
                vec![(
                    4,
                    "R: the route GET / needs the authorizer L, whose ValidationExpression can't be evaluated here",
                )],
            ),
            (
                "Events: {E: {Type: Api, Properties: {Path: /, Method: get, Auth: {Authorizer: AWS_IAM, \
                 ApiKeyRequired: true}}}}",
                String::new(),
                vec![(
                    1,
                    "ServerlessRestApi: the route GET / needs an API key, and no usage plan of the template \
                      has one for it",
                )],
            ),
            (
                "Timeout: 3",
                "  R: {Type: AWS::Events::Rule, Properties: {EventPattern: {a: [1]}, Targets: [{Id: a, Arn: !Ref T}, \
                 {Id: b, Arn: !GetAtt Q.Arn}, {Id: c, Arn: !GetAtt F.Arn}]}}\n  T: {Type: AWS::SNS::Topic}\n  Q: \
                 {Type: AWS::SQS::Queue, Properties: {FifoQueue: true}}\n"
                    .to_owned(),
                vec![(4, "R: events are not sent to FIFO queues here")],
            ),
            (
                "Events: {E: {Type: SNS, Properties: {Topic: !Ref T}}}",
                "  T: {Type: AWS::SNS::Topic, Properties: {FifoTopic: true}}\n".to_owned(),
                vec![(4, "T: FIFO topics are not served here")],
            ),
            (
                "Events: {E: {Type: DynamoDB, Properties: {Stream: !GetAtt T.StreamArn, StartingPosition: LATEST, \
                 DestinationConfig: {OnFailure: {Destination: !Ref O}}}}}",
                STREAMED
                    .replace("  T: {Type: AWS::DynamoDB", "  O: {Type: AWS::SNS::Topic}\n  T: {Type: AWS::DynamoDB"),
                vec![(
                    3,
                    "F: discarded records are not sent to the topic arn:aws:sns:us-east-1:000000000000:local-O here",
                )],
            ),
            (
                "Timeout: 3",
                socket("ApiKeyRequired: true"),
                vec![(4, "W: the route $connect needs an API key, and no usage plan of the template has one for it")],
            ),
            (
                "Timeout: 3",
                workflow.to_owned(),
                vec![(4, "W: the route ping calls states:StartExecution, which integrations can't call here")],
            ),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(line, message)| (line, message.to_owned())).collect();
            assert_eq!(messages(properties, &more), expected, "{properties}");
        }
    }

    #[test]
    fn functions_that_cannot_run_are_named_and_can_be_left_out() {
        let one = |id: &str, metadata: &str, properties: &str| {
            format!("  {id}: {{Type: AWS::Serverless::Function, {metadata} Properties: {{{properties}}}}}\n")
        };
        let resources = [
            one("Good", &format!("{CARGO},"), FUNCTION),
            one("Image", "", "PackageType: Image"),
            one("Inline", "", "InlineCode: x, Handler: a.b, Runtime: provided.al2023"),
            one("Built", "Metadata: {BuildMethod: makefile},", "InlineCode: x, Handler: a.b, Runtime: python3.13"),
            one("Text", "", "InlineCode: x, Handler: a.b, Runtime: python3.13"),
            one("Old", "", "CodeUri: ., Handler: a::b, Runtime: java21"),
            one("Odd", "Metadata: {BuildMethod: dotnet7},", "CodeUri: ., Handler: a.b, Runtime: nodejs22.x"),
            one("Go", "", "CodeUri: ., Handler: main, Runtime: go1.x"),
            one(
                "Esbuild",
                "Metadata: {BuildMethod: esbuild, BuildProperties: {EntryPoints: [a.ts]}},",
                "CodeUri: ., Handler: a.b, Runtime: nodejs22.x",
            ),
            one(
                "OddEsbuild",
                "Metadata: {BuildMethod: esbuild, BuildProperties: {EntryPoints: [a.ts]}},",
                "CodeUri: ., Handler: a.b, Runtime: python3.13",
            ),
        ];
        let mut template = template(&resources.concat());
        let found = unserved(&template, false);
        let lines: Vec<usize> = found.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [4, 5, 6, 8, 9, 12], "{found:?}");
        assert_eq!(unserved(&template, true), [], "functions that run elsewhere");
        leave_out(&mut template);
        let left: Vec<_> = template.functions.iter().map(|function| function.logical_id.as_str()).collect();
        assert_eq!(left, ["Esbuild", "Go", "Good", "Text"]);
    }
}
