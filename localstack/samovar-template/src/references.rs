//! The values of `!Ref` and `!GetAtt` for each type on one machine, and the physical names behind them.
//!
//! Names come from the declaration alone, not from the finished model, so resources can refer to each other in any
//! order.

use super::error::{Problem, hint};
use super::resource::{Kind, Resource};
use super::scope::{PARTITION, Scope, URL_SUFFIX};
use super::yaml::{Data, Node};

impl Scope<'_> {
    /// The value of `!Ref`; nothing for `AWS::NoValue`.
    pub(crate) fn reference(&self, line: usize, name: &str) -> Result<Option<Node>, Problem> {
        let text = match name {
            "AWS::NoValue" => return Ok(None),
            "AWS::AccountId" => self.locals.account_id.clone(),
            "AWS::Region" => self.locals.region.clone(),
            "AWS::StackName" => self.locals.stack_name.clone(),
            "AWS::Partition" => PARTITION.to_owned(),
            "AWS::URLSuffix" => URL_SUFFIX.to_owned(),
            _ => match self.parameters.get(name) {
                Some(parameter) if parameter.is_list() => {
                    let items = parameter.items().map(|item| Node::text(line, item)).collect();
                    return Ok(Some(Node { line, data: Data::List(items) }));
                }
                Some(parameter) => parameter.text.clone(),
                None => match self.routes.get(name) {
                    // A route exists if its API does.
                    Some((api, _)) => self.resource(line, api).map(|_| name.to_owned())?,
                    None => self.resource(line, name)?.reference(self)?,
                },
            },
        };
        Ok(Some(Node::text(line, text)))
    }

    /// The value of `!GetAtt`.
    pub(crate) fn attribute(&self, line: usize, name: &str, attribute: &str) -> Result<String, Problem> {
        if self.parameters.contains_key(name) {
            return Err(Problem::new(line, format!("\"{name}\" is a parameter: use !Ref")));
        }
        self.resource(line, name)?.attribute(self, line, attribute)
    }

    /// Finds the resource of this kind whose attribute has this value: this traces an ARN back to its resource.
    pub(crate) fn find(&self, kind: Kind, attribute: &str, value: &str) -> Option<&Resource> {
        self.present(kind).find(|resource| {
            resource.attribute(self, resource.line, attribute).is_ok_and(|attribute| attribute == value)
        })
    }
}

impl Resource {
    pub(crate) fn reference(&self, scope: &Scope<'_>) -> Result<String, Problem> {
        match self.kind {
            Kind::Bucket | Kind::Function | Kind::Table => self.name(scope),
            Kind::ManagedPolicy => self.attribute(scope, self.line, "PolicyArn"),
            Kind::Queue => self.attribute(scope, self.line, "QueueUrl"),
            Kind::HttpApi | Kind::WebSocketApi => Ok(self.api_id()),
            Kind::UserPool => Ok(format!("{}_{}", scope.locals.region, self.id)),
            Kind::ResponseHeadersPolicy | Kind::RouteResponse | Kind::UserPoolClient => Ok(self.id.clone()),
            Kind::UserPoolDomain => self.name(scope),
        }
    }

    pub(crate) fn attribute(&self, scope: &Scope<'_>, line: usize, attribute: &str) -> Result<String, Problem> {
        let locals = scope.locals;
        let arn = |service: &str, path: String| {
            format!("arn:{PARTITION}:{service}:{}:{}:{path}", locals.region, locals.account_id)
        };
        Ok(match (self.kind, attribute) {
            (Kind::Function, "Arn") => arn("lambda", format!("function:{}", self.name(scope)?)),
            (Kind::Queue, "Arn") => arn("sqs", self.name(scope)?),
            (Kind::Queue, "QueueName") => self.name(scope)?,
            (Kind::Queue, "QueueUrl") => {
                let endpoint = locals.sqs_url.trim_end_matches('/');
                format!("{endpoint}/{}/{}", locals.account_id, self.name(scope)?)
            }
            // Bucket names are globally unique, so their ARNs contain neither region nor account.
            (Kind::Bucket, "Arn") => format!("arn:{PARTITION}:s3:::{}", self.name(scope)?),
            (Kind::Bucket, "DomainName") => format!("{}.s3.{URL_SUFFIX}", self.name(scope)?),
            (Kind::Bucket, "RegionalDomainName") => {
                format!("{}.s3.{}.{URL_SUFFIX}", self.name(scope)?, locals.region)
            }
            (Kind::Table, "Arn") => arn("dynamodb", format!("table/{}", self.name(scope)?)),
            (Kind::ManagedPolicy, "PolicyArn") => {
                format!("arn:{PARTITION}:iam::{}:policy/{}", locals.account_id, self.name(scope)?)
            }
            (Kind::HttpApi | Kind::WebSocketApi, "ApiId") => self.api_id(),
            (Kind::HttpApi, "ApiEndpoint") => {
                format!("https://{}.execute-api.{}.{URL_SUFFIX}", self.api_id(), locals.region)
            }
            (Kind::WebSocketApi, "ApiEndpoint") => {
                format!("wss://{}.execute-api.{}.{URL_SUFFIX}", self.api_id(), locals.region)
            }
            (Kind::UserPool, "Arn") => arn("cognito-idp", format!("userpool/{}", self.reference(scope)?)),
            (Kind::UserPool, "UserPoolId") => self.reference(scope)?,
            (Kind::UserPool, "ProviderURL") => locals.issuer.clone(),
            (Kind::UserPoolClient, "ClientId") => self.id.clone(),
            (Kind::ResponseHeadersPolicy, "Id") => self.id.clone(),
            _ => {
                let message = format!("{} does not have the attribute \"{attribute}\"", self.kind.type_name());
                return Err(Problem::new(line, message + &hint(attribute, self.attributes().iter().copied())));
            }
        })
    }

    pub(crate) fn api_id(&self) -> String {
        self.id.to_lowercase()
    }

    /// The name in the template; or CloudFormation's pattern of stack and logical id, without its random part.
    pub(crate) fn name(&self, scope: &Scope<'_>) -> Result<String, Problem> {
        let property = match self.kind {
            Kind::Bucket => "BucketName",
            Kind::Function => "FunctionName",
            Kind::Queue => "QueueName",
            Kind::Table => "TableName",
            Kind::ManagedPolicy => "ManagedPolicyName",
            Kind::UserPoolDomain => "Domain",
            Kind::HttpApi
            | Kind::ResponseHeadersPolicy
            | Kind::RouteResponse
            | Kind::UserPool
            | Kind::UserPoolClient
            | Kind::WebSocketApi => "",
        };
        if scope.naming.borrow().contains(&self.id) {
            return Err(Problem::new(self.line, format!("The {property} of {} depends on itself", self.id)));
        }
        scope.naming.borrow_mut().push(self.id.clone());
        let name = self.resolve_name(scope, property);
        scope.naming.borrow_mut().pop();
        name
    }

    fn resolve_name(&self, scope: &Scope<'_>, property: &str) -> Result<String, Problem> {
        let resolved = |property: &str| match self.properties.get(property) {
            Some(node) => scope.resolve(node),
            None => Ok(None),
        };
        if let Some(name) = resolved(property)? {
            return name.expect_text(&format!("{}.{property}", self.kind.type_name()));
        }
        if self.kind == Kind::Bucket {
            return Ok(format!("{}-{}", scope.locals.stack_name, self.id).to_lowercase());
        }
        let fifo =
            self.kind == Kind::Queue && resolved("FifoQueue")?.and_then(|is| is.as_text()).as_deref() == Some("true");
        Ok(format!("{}-{}{}", scope.locals.stack_name, self.id, if fifo { ".fifo" } else { "" }))
    }

    fn attributes(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Function | Kind::Table => &["Arn"],
            Kind::Bucket => &["Arn", "DomainName", "RegionalDomainName"],
            Kind::Queue => &["Arn", "QueueName", "QueueUrl"],
            Kind::ManagedPolicy => &["PolicyArn"],
            Kind::HttpApi | Kind::WebSocketApi => &["ApiEndpoint", "ApiId"],
            Kind::UserPool => &["Arn", "ProviderURL", "UserPoolId"],
            Kind::UserPoolClient => &["ClientId"],
            Kind::ResponseHeadersPolicy => &["Id"],
            Kind::RouteResponse | Kind::UserPoolDomain => &[],
        }
    }
}
