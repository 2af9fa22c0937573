//! The integrations of a WebSocket API that are no functions behind a proxy: `AWS`, `HTTP`, `HTTP_PROXY` and `MOCK`,
//! and their `AWS::ApiGatewayV2::IntegrationResponse`s.

use std::collections::BTreeMap;

use super::raw_api::Parts;
use super::{Context, Policies};
use crate::fields::{Fields, Schema};
use crate::model::{Backend, Integration, IntegrationResponse, IntegrationRole, MappedIntegration, Passthrough};
use crate::resource::Kind;
use crate::selection::Selection;
use crate::yaml::Data;

pub(crate) const INTEGRATION_RESPONSE: Schema = Schema {
    subject: "AWS::ApiGatewayV2::IntegrationResponse",
    required: &["ApiId", "IntegrationId", "IntegrationResponseKey"],
    optional: &["ResponseTemplates", "TemplateSelectionExpression"],
    ignored: &["ContentHandlingStrategy", "ResponseParameters"],
};

const PASSTHROUGH: [&str; 3] = ["NEVER", "WHEN_NO_MATCH", "WHEN_NO_TEMPLATES"];

impl Parts<'_> {
    /// The integration of this id and type. `None` if it has a problem, which is noted.
    pub(super) fn mapped(&self, id: &str, kind: &str, fields: &Fields<'_>, policies: &Policies) -> Option<Integration> {
        let passthrough = fields.choice("PassthroughBehavior", &PASSTHROUGH);
        let (request_templates, template_selection) =
            (texts(fields, "RequestTemplates"), selection(fields, "TemplateSelectionExpression"));
        let (request_parameters, responses) = (texts(fields, "RequestParameters"), self.responses(id));
        let backend = match kind {
            "MOCK" => Backend::Mock,
            "AWS" => self.service(fields, policies)?,
            http => Backend::Http {
                method: fields.text("IntegrationMethod").unwrap_or_else(|| "POST".to_owned()),
                url: uri(fields, http)?,
                proxy: http == "HTTP_PROXY",
            },
        };
        Some(Integration::Mapped(Box::new(MappedIntegration {
            backend,
            passthrough: match passthrough.as_deref() {
                Some("NEVER") => Passthrough::Never,
                Some("WHEN_NO_TEMPLATES") => Passthrough::WhenNoTemplates,
                _ => Passthrough::WhenNoMatch,
            },
            request_templates,
            template_selection,
            request_parameters,
            responses,
        })))
    }

    /// `arn:aws:apigateway:{region}:{service}:action/NAME`, or `:path/PATH`.
    fn service(&self, fields: &Fields<'_>, policies: &Policies) -> Option<Backend> {
        let uri = uri(fields, "AWS")?;
        if uri.contains(":lambda:path/") {
            return self.named_function(fields, "IntegrationUri").map(Backend::Function);
        }
        let parts: Vec<&str> = uri.splitn(6, ':').collect();
        let called = match parts.as_slice() {
            ["arn", _, "apigateway", _, service, call] => call.split_once('/').map(|call| (*service, call)),
            _ => None,
        };
        let (service, action, path) = match called {
            Some((service, ("action", action))) if !action.is_empty() => (service, Some(action.to_owned()), ""),
            Some((service, ("path", path))) if !path.is_empty() => (service, None, path),
            _ => {
                let message = format!(
                    "is \"{uri}\", which is not arn:aws:apigateway:REGION:SERVICE:action/ACTION or …:path/PATH"
                );
                fields.wrong("IntegrationUri", &message);
                return None;
            }
        };
        if !fields.has("CredentialsArn") {
            fields.wrong("CredentialsArn", "is missing: API Gateway calls a service as a role");
        }
        let arn = fields.text("CredentialsArn")?;
        let name = arn.rsplit('/').next().unwrap_or_default().to_owned();
        let policies = policies.of_role(&arn).unwrap_or_else(|| {
            let message = format!("{arn} may make all calls here, because its policies are not known");
            self.context.problems.note(fields.line("CredentialsArn"), message);
            Policies::all()
        });
        let role = IntegrationRole { name, policies };
        Some(Backend::Service { service: service.to_owned(), action, path: path.to_owned(), role })
    }

    fn responses(&self, integration: &str) -> Vec<IntegrationResponse> {
        let responses = self.of(Kind::IntegrationResponse, &INTEGRATION_RESPONSE).into_iter();
        let own = responses.filter(|(_, fields)| fields.text("IntegrationId").as_deref() == Some(integration));
        let read = own.filter_map(|(_, fields)| {
            Some(IntegrationResponse {
                key: fields.text("IntegrationResponseKey")?,
                templates: texts(&fields, "ResponseTemplates"),
                template_selection: selection(&fields, "TemplateSelectionExpression"),
            })
        });
        read.collect()
    }
}

/// Checks that every response names an integration of the template.
pub(super) fn check_responses(context: &Context<'_>) {
    for resource in context.scope.present(Kind::IntegrationResponse) {
        let fields = context.fields(resource, &INTEGRATION_RESPONSE);
        let Some(id) = fields.text("IntegrationId") else { continue };
        if !context.scope.present(Kind::ApiIntegration).any(|integration| integration.id == id) {
            fields.wrong("IntegrationId", &format!("is \"{id}\", which is not an integration of this template"));
        }
    }
}

/// The property `IntegrationUri`, which integrations of this type need.
pub(super) fn uri(fields: &Fields<'_>, kind: &str) -> Option<String> {
    if !fields.has("IntegrationUri") {
        fields.wrong("IntegrationUri", &format!("is missing: {kind} needs it"));
    }
    fields.text("IntegrationUri")
}

/// A selection expression. A problem with it is noted.
pub(super) fn selection(fields: &Fields<'_>, property: &str) -> Option<Selection> {
    Selection::parse(&fields.text(property)?).map_err(|why| fields.wrong(property, &why)).ok()
}

/// A map of texts.
fn texts(fields: &Fields<'_>, property: &str) -> BTreeMap<String, String> {
    let Some(node) = fields.node(property) else { return BTreeMap::new() };
    if !matches!(node.data, Data::Map(_)) {
        fields.problems().push(node.not(property, "a map"));
    }
    let texts = node.entries().iter().filter_map(|entry| {
        let text = entry.value.expect_text(&format!("A value of {property}"));
        Some((entry.key.clone(), fields.problems().keep(text)?))
    });
    texts.collect()
}
