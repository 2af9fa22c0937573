//! API keys.

use std::collections::BTreeSet;

/// `AWS::ApiGateway::ApiKey`, enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its name in the template.
    pub logical_id: String,
    /// `Value`, or one made of stack and logical id.
    pub value: String,
    /// The stages of its usage plans: the API's id, and the name of the stage.
    pub stages: BTreeSet<(String, String)>,
}
