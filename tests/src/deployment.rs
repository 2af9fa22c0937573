//! The project's template as CloudFormation would deploy it with some parameters: the resources that exist then, with
//! all values computed. Here are also the parts that mean nothing to the local stack, such as alarms.
//!
//! It is an evaluation of its own, beside the one in `samovar-template`. That one leaves out everything that exists
//! only when deployed. This one knows names of such resources too: what AWS would choose is the logical id.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

const STACK: &str = "local";
const REGION: &str = "us-east-1";
const ACCOUNT: &str = "000000000000";

/// A template with the values of its parameters.
#[derive(Debug)]
pub struct Deployment {
    document: Arc<Value>,
    parameters: BTreeMap<String, Value>,
    /// The logical ids of the resources that exist.
    existing: BTreeSet<String>,
}

/// The reason why a template can't be deployed.
type Refused = String;

impl Deployment {
    /// # Errors
    /// If the text is no template, or a parameter is unknown.
    pub fn new(template: &str, parameters: &[(&str, &str)]) -> Result<Self, Refused> {
        let document = samovar_template::to_json(template, Path::new("template.yaml")).map_err(|e| e.to_string())?;
        Self::of(&Arc::new(document), parameters)
    }

    /// The same of a template that was read already.
    ///
    /// # Errors
    /// If a parameter or a condition is unknown.
    pub fn of(document: &Arc<Value>, parameters: &[(&str, &str)]) -> Result<Self, Refused> {
        let declared = document["Parameters"].as_object().into_iter().flatten();
        let mut values: BTreeMap<String, Value> =
            declared.map(|(name, parameter)| (name.clone(), parameter["Default"].clone())).collect();
        for (name, value) in parameters {
            let known = values.get_mut(*name).ok_or_else(|| format!("There is no parameter {name}"))?;
            *known = json!(value);
        }
        let mut this = Self { document: Arc::clone(document), parameters: values, existing: BTreeSet::new() };
        let existing = this.those_of("Resources")?.into_iter().map(|(id, _)| id.clone());
        this.existing = existing.collect();
        Ok(this)
    }

    /// The whole template, with nothing computed.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Whether a condition holds.
    ///
    /// # Errors
    /// If there is no such condition.
    pub fn holds(&self, condition: &str) -> Result<bool, Refused> {
        let expression = &self.document["Conditions"][condition];
        if expression.is_null() {
            return Err(format!("There is no condition {condition}"));
        }
        self.decide(expression)
    }

    fn decide(&self, expression: &Value) -> Result<bool, Refused> {
        let (function, arguments) = call(expression).ok_or_else(|| format!("This is no condition: {expression}"))?;
        let each = || arguments.as_array().into_iter().flatten().map(|one| self.decide(one));
        match function {
            "Fn::Equals" => Ok(text(&self.needed(&arguments[0])?) == text(&self.needed(&arguments[1])?)),
            "Fn::Not" => Ok(!self.decide(&arguments[0])?),
            "Fn::And" => each().try_fold(true, |all, one| Ok(one? && all)),
            "Fn::Or" => each().try_fold(false, |any, one| Ok(one? || any)),
            "Condition" => self.holds(&text(arguments)),
            _ => Err(format!("{function} can't be used in a condition")),
        }
    }

    /// The resources that exist, by logical id, with their properties computed.
    ///
    /// # Errors
    /// If a value refers to something that does not exist then.
    pub fn resources(&self) -> Result<BTreeMap<String, Value>, Refused> {
        let mut resources = BTreeMap::new();
        for (id, resource) in self.those_of("Resources")? {
            let resource = self.compute(resource).map_err(|error| format!("{id}: {error}"))?;
            resources.insert(id.clone(), resource.unwrap_or_default());
        }
        Ok(resources)
    }

    /// Everything that exists, computed: the resources, the outputs, and what all functions have. The conditions are
    /// left out, because they hold. `Metadata` is left out, because it is for tools and changes nothing.
    ///
    /// # Errors
    /// If a value refers to something that does not exist.
    pub fn whole(&self) -> Result<Value, Refused> {
        let mut whole = json!({ "Globals": self.needed(&self.document["Globals"])?, "Resources": self.resources()? });
        for (name, output) in self.those_of("Outputs")? {
            whole["Outputs"][name] = self.needed(output)?;
        }
        for kind in ["Resources", "Outputs"] {
            for one in whole[kind].as_object_mut().into_iter().flatten().filter_map(|(_, one)| one.as_object_mut()) {
                one.remove("Condition");
                one.remove("Metadata");
            }
        }
        Ok(whole)
    }

    /// The rules that refuse these parameters.
    ///
    /// # Errors
    /// If a rule is not understood.
    pub fn broken_rules(&self) -> Result<Vec<String>, Refused> {
        let mut broken = Vec::new();
        for (name, rule) in self.document["Rules"].as_object().into_iter().flatten() {
            let condition = &rule["RuleCondition"];
            let applies = condition.is_null() || self.decide(condition)?;
            for assertion in rule["Assertions"].as_array().into_iter().flatten().filter(|_| applies) {
                if !self.decide(&assertion["Assert"])? {
                    broken.push(name.clone());
                }
            }
        }
        Ok(broken)
    }

    /// The members of a section that exist, with nothing computed.
    fn those_of(&self, section: &str) -> Result<Vec<(&String, &Value)>, Refused> {
        let mut those = Vec::new();
        for (id, one) in self.document[section].as_object().into_iter().flatten() {
            let condition = one["Condition"].as_str();
            if condition.map_or(Ok(true), |condition| self.holds(condition))? {
                those.push((id, one));
            }
        }
        Ok(those)
    }

    /// The value with all functions computed. `None` is AWS::NoValue, whose place is left out.
    fn compute(&self, value: &Value) -> Result<Option<Value>, Refused> {
        if let Some((function, argument)) = call(value) {
            return self.call(function, argument);
        }
        Ok(Some(match value {
            Value::Array(items) => {
                let items = items.iter().filter_map(|item| self.compute(item).transpose());
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let mut computed = Map::new();
                for (name, member) in members {
                    if let Some(member) = self.compute(member)? {
                        computed.insert(name.clone(), member);
                    }
                }
                Value::Object(computed)
            }
            plain => plain.clone(),
        }))
    }

    fn needed(&self, value: &Value) -> Result<Value, Refused> {
        self.compute(value)?.ok_or_else(|| format!("{value} can't be AWS::NoValue"))
    }

    fn call(&self, function: &str, argument: &Value) -> Result<Option<Value>, Refused> {
        let value = match function {
            "Ref" => return self.reference(&text(argument)),
            "Fn::If" => {
                let holds = self.holds(&text(&argument[0]))?;
                return self.compute(&argument[if holds { 1 } else { 2 }]);
            }
            "Fn::GetAtt" => {
                let whole = text(argument);
                let (id, attribute) = whole.split_once('.').ok_or_else(|| format!("{argument} is no attribute"))?;
                self.attribute(id, attribute)?
            }
            "Fn::Sub" => self.substitute(argument)?,
            "Fn::Select" => {
                let at: usize = text(&argument[0]).parse().map_err(|_| format!("{argument} has no index"))?;
                return Ok(self.needed(&argument[1])?.get(at).cloned());
            }
            "Fn::Split" => {
                let whole = text(&self.needed(&argument[1])?);
                return Ok(Some(whole.split(&text(&argument[0])).map(Value::from).collect()));
            }
            _ => return Err(format!("{function} is not understood here")),
        };
        Ok(Some(Value::String(value)))
    }

    fn reference(&self, name: &str) -> Result<Option<Value>, Refused> {
        if let Some(value) = self.parameters.get(name) {
            return Ok(Some(value.clone()));
        }
        Ok(Some(json!(match name {
            "AWS::NoValue" => return Ok(None),
            "AWS::StackName" => STACK,
            "AWS::Region" => REGION,
            "AWS::AccountId" => ACCOUNT,
            "AWS::Partition" => "aws",
            "AWS::URLSuffix" => "amazonaws.com",
            id => return self.name_of(id).map(|name| Some(json!(name))),
        })))
    }

    /// The name of a resource, as its own properties give it. Otherwise it is made of the stack's name and the logical
    /// id, as on the local stack.
    fn name_of(&self, id: &str) -> Result<String, Refused> {
        let resource = self.resource(id)?;
        let name = ["FunctionName", "QueueName", "TableName", "BucketName"];
        let own = name.iter().map(|name| &resource["Properties"][name]).find(|name| !name.is_null());
        own.map_or(Ok(format!("{STACK}-{id}")), |name| Ok(text(&self.needed(name)?)))
    }

    fn attribute(&self, id: &str, attribute: &str) -> Result<String, Refused> {
        self.resource(id)?;
        match attribute {
            "QueueName" => self.name_of(id),
            "ProviderURL" => Ok(format!("https://{id}.{attribute}")),
            _ => Ok(format!("{id}.{attribute}")),
        }
    }

    /// A resource that others may refer to.
    fn resource(&self, id: &str) -> Result<Value, Refused> {
        let resources = &self.document["Resources"];
        // SAM makes these of the routes of a WebSocket API.
        let made = || resources.as_object()?.keys().find(|api| id.starts_with(*api) && id.ends_with("Route")).cloned();
        match &resources[id] {
            Value::Null if made().is_some() => Ok(Value::Null),
            Value::Null => Err(format!("There is no parameter or resource {id}")),
            _ if !self.existing.contains(id) => Err(format!("{id} does not exist under its condition")),
            resource => Ok(resource.clone()),
        }
    }

    fn substitute(&self, argument: &Value) -> Result<String, Refused> {
        let template = if argument.is_array() { text(&argument[0]) } else { text(argument) };
        let mut rest = template.as_str();
        let mut result = String::new();
        while let Some((before, (name, after))) =
            rest.split_once("${").and_then(|(before, from)| Some((before, from.split_once('}')?)))
        {
            result.push_str(before);
            let value = match (&argument[1][name], name.split_once('.')) {
                (Value::Null, Some((id, attribute))) => json!(self.attribute(id, attribute)?),
                (Value::Null, None) => self.reference(name)?.unwrap_or_default(),
                (own, _) => self.needed(own)?,
            };
            result.push_str(&text(&value));
            rest = after;
        }
        Ok(result + rest)
    }
}

/// The function and its argument, if the value is a call.
fn call(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let (name, argument) = members.iter().next()?;
    // A statement of a policy and a resource have a member `Condition` too, which is no call, beside others.
    (name == "Ref" || name.starts_with("Fn::") || name == "Condition" && argument.is_string())
        .then_some((name.as_str(), argument))
}

/// CloudFormation converts freely between texts, numbers and booleans.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
