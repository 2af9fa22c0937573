//! The intrinsic functions: replaces every call in a tree by its value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::{Problem, hint};
use super::scope::Scope;
use super::yaml::{Data, Entry, Node};

/// The functions of CloudFormation. Those that conditions and rules alone can use are included.
const FUNCTIONS: [&str; 23] = [
    "And",
    "Base64",
    "Cidr",
    "Condition",
    "Contains",
    "Equals",
    "FindInMap",
    "ForEach",
    "GetAZs",
    "GetAtt",
    "GetStackOutput",
    "If",
    "ImportValue",
    "Join",
    "Length",
    "Not",
    "Or",
    "Ref",
    "Select",
    "Split",
    "Sub",
    "ToJsonString",
    "Transform",
];

impl Scope<'_> {
    /// The value of a node. `AWS::NoValue` gives nothing, and its place is then left out.
    pub(crate) fn resolve(&self, node: &Node) -> Result<Option<Node>, Problem> {
        let line = node.line;
        let data = match &node.data {
            Data::List(items) => Data::List(self.items(items)?),
            Data::Map(entries) => {
                let mut resolved = Vec::with_capacity(entries.len());
                for Entry { line, key, value } in entries {
                    if let Some(value) = self.resolve(value)? {
                        resolved.push(Entry { line: *line, key: key.clone(), value });
                    }
                }
                Data::Map(resolved)
            }
            Data::Call(function, argument) => return self.call(line, function, argument),
            other => other.clone(),
        };
        Ok(Some(Node { line, data }))
    }

    /// The value of a node that must be text.
    pub(crate) fn text(&self, node: &Node, what: &str) -> Result<String, Problem> {
        match self.resolve(node)? {
            Some(value) => value.expect_text(what),
            None => Err(Problem::new(node.line, format!("{what} cannot be AWS::NoValue"))),
        }
    }

    fn call(&self, line: usize, function: &str, argument: &Node) -> Result<Option<Node>, Problem> {
        let text = match function {
            "Ref" => return self.reference(line, &argument.expect_text("The name in !Ref")?),
            "If" => {
                let [condition, yes, no] =
                    self.arguments(line, "If", "condition, value if true, value if false", argument)?;
                let holds = self.condition(line, &condition.expect_text("The condition in !If")?)?;
                return self.resolve(if holds { yes } else { no });
            }
            "Select" => {
                let before = self.placeholders.get();
                return match self.select(line, argument) {
                    // A placeholder has not the parts of the value that it stands for.
                    Err(_) if self.placeholders.get() > before => Ok(Some(Node::text(line, "missing"))),
                    selected => selected.map(Some),
                };
            }
            "Split" => {
                let [separator, text] = self.arguments(line, "Split", "separator, text", argument)?;
                let separator = self.text(separator, "The separator in !Split")?;
                if separator.is_empty() {
                    return Err(Problem::new(line, "The separator in !Split is empty"));
                }
                let text = self.text(text, "The text in !Split")?;
                let items = text.split(&separator).map(|item| Node::text(line, item)).collect();
                return Ok(Some(Node { line, data: Data::List(items) }));
            }
            "FindInMap" => return self.find_in_map(line, argument).map(Some),
            "GetAtt" => {
                let (name, attribute) = get_att(argument)?;
                self.attribute(line, &name, &attribute)?
            }
            "Sub" => self.sub(line, argument)?,
            "Join" => {
                let [separator, list] = self.arguments(line, "Join", "separator, list", argument)?;
                let items = self.list(list, "The list in !Join")?;
                let items: Result<Vec<_>, _> = items.iter().map(|item| item.expect_text("An item of !Join")).collect();
                items?.join(&self.text(separator, "The separator in !Join")?)
            }
            "Base64" => STANDARD.encode(self.text(argument, "The text in !Base64")?),
            "GetAZs" => {
                // Every region has at least three zones, of which the letters are the names.
                let region = self.text(argument, "The region in !GetAZs")?;
                let region = if region.is_empty() { &self.locals.region } else { &region };
                let zones = ["a", "b", "c"].map(|zone| Node::text(line, format!("{region}{zone}")));
                return Ok(Some(Node { line, data: Data::List(zones.to_vec()) }));
            }
            "ToJsonString" => {
                let value = self.resolve(argument)?;
                value
                    .ok_or_else(|| Problem::new(line, "!ToJsonString cannot be of AWS::NoValue"))?
                    .to_json()
                    .to_string()
            }
            "Length" => {
                let length = self.list(argument, "The list in !Length")?.len().to_string();
                return Ok(Some(Node { line, data: Data::Number(length) }));
            }
            "ImportValue" => {
                let name = self.text(argument, "The name in !ImportValue")?;
                let what = format!("\"{name}\" is a value of another stack");
                self.missing(line, &what, format!("missing-{name}"))?
            }
            "Cidr" | "Transform" | "GetStackOutput" => {
                let what = format!("!{function} is not computed here");
                self.missing(line, &what, format!("missing-{function}"))?
            }
            "And" | "Contains" | "Equals" | "Not" | "Or" | "Condition" => {
                let message = format!("!{function} can be used only under Conditions: name it there and use !If here");
                return Err(Problem::new(line, message));
            }
            other => return Err(unknown(line, other)),
        };
        Ok(Some(Node::text(line, text)))
    }

    fn select(&self, line: usize, argument: &Node) -> Result<Node, Problem> {
        let [index, list] = self.arguments(line, "Select", "index, list", argument)?;
        let index = self.text(index, "The index in !Select")?;
        let mut items = self.list(list, "The list in !Select")?;
        match index.parse::<usize>() {
            Ok(index) if index < items.len() => Ok(items.swap_remove(index)),
            _ => Err(Problem::new(line, format!("!Select has no item {index} in a list of {}", items.len()))),
        }
    }

    fn items(&self, items: &[Node]) -> Result<Vec<Node>, Problem> {
        items.iter().filter_map(|item| self.resolve(item).transpose()).collect()
    }

    pub(crate) fn list(&self, node: &Node, what: &str) -> Result<Vec<Node>, Problem> {
        match self.resolve(node)? {
            Some(Node { data: Data::List(items), .. }) => Ok(items),
            Some(other) => Err(other.not(what, "a list")),
            None => Err(Problem::new(node.line, format!("{what} cannot be AWS::NoValue"))),
        }
    }

    /// The arguments of a function that takes a list of `N`.
    fn arguments<'n, const N: usize>(
        &self,
        line: usize,
        function: &str,
        takes: &str,
        argument: &'n Node,
    ) -> Result<&'n [Node; N], Problem> {
        let items = if let Data::List(items) = &argument.data { items.as_slice() } else { &[] };
        items.try_into().map_err(|_| Problem::new(line, format!("!{function} takes [{takes}]")))
    }

    fn find_in_map(&self, line: usize, argument: &Node) -> Result<Node, Problem> {
        let keys: &[Node; 3] = self.arguments(line, "FindInMap", "map, first key, second key", argument)?;
        let mut found = self.mappings.as_ref();
        for key in keys {
            let key = self.text(key, "A key in !FindInMap")?;
            let known = found.map(Node::entries).unwrap_or_default();
            found = Some(found.and_then(|map| map.get(&key)).ok_or_else(|| {
                let hint = hint(&key, known.iter().map(|entry| entry.key.as_str()));
                Problem::new(line, format!("!FindInMap does not find \"{key}\"{hint}"))
            })?);
        }
        match found {
            Some(Node { data: Data::Call(..) | Data::Map(_), .. }) | None => {
                Err(Problem::new(line, "!FindInMap must find text, a number or a list: Mappings have two levels"))
            }
            Some(found) => Ok(Node { line, data: found.data.clone() }),
        }
    }

    fn sub(&self, line: usize, argument: &Node) -> Result<String, Problem> {
        let (template, variables) = sub_arguments(line, argument)?;
        let mut text = String::new();
        for part in sub_parts(&template).map_err(|message| Problem::new(line, message))? {
            let name = match part {
                SubPart::Text(literal) => {
                    text.push_str(literal);
                    continue;
                }
                SubPart::Name(name) => name,
            };
            if let Some(variable) = variables.and_then(|variables| variables.get(name)) {
                text.push_str(&self.text(variable, &format!("The variable {name} in !Sub"))?);
            } else if let Some((resource, attribute)) = name.split_once('.') {
                text.push_str(&self.attribute(line, resource, attribute)?);
            } else {
                let what = format!("${{{name}}} in !Sub");
                let value = self.reference(line, name)?;
                let value = value.ok_or_else(|| Problem::new(line, format!("{what} cannot be AWS::NoValue")))?;
                text.push_str(&value.expect_text(&what)?);
            }
        }
        Ok(text)
    }
}

fn unknown(line: usize, function: &str) -> Problem {
    Problem::new(line, format!("!{function} is not understood{}", hint(function, FUNCTIONS)))
}

/// The calls in a tree that no function of CloudFormation answers.
pub(crate) fn unknown_functions(node: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    node.visit(&mut |node| {
        if let Data::Call(function, _) = &node.data
            && !FUNCTIONS.contains(&function.as_str())
        {
            problems.push(unknown(node.line, function));
        }
    });
    problems
}

/// The text of `!Sub` and the variables given with it.
fn sub_arguments(line: usize, argument: &Node) -> Result<(String, Option<&Node>), Problem> {
    let wrong = || Problem::new(line, "!Sub takes text, or [text, map of variables]");
    match &argument.data {
        Data::List(items) => match items.as_slice() {
            [template, variables @ Node { data: Data::Map(_), .. }] => {
                Ok((template.as_text().ok_or_else(wrong)?, Some(variables)))
            }
            _ => Err(wrong()),
        },
        _ => Ok((argument.as_text().ok_or_else(wrong)?, None)),
    }
}

enum SubPart<'t> {
    Text(&'t str),
    Name(&'t str),
}

/// `${Name}` is a name, `${!Text}` the text `${Text}`.
fn sub_parts(template: &str) -> Result<Vec<SubPart<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find("${") {
        parts.push(SubPart::Text(&rest[..start]));
        let Some(length) = rest[start..].find('}') else {
            return Err(format!("!Sub has a ${{ without its }}: \"{template}\""));
        };
        let inside = &rest[start + 2..start + length];
        if let Some(literal) = inside.strip_prefix('!') {
            parts.extend([SubPart::Text("${"), SubPart::Text(literal), SubPart::Text("}")]);
        } else {
            parts.push(SubPart::Name(inside.trim()));
        }
        rest = &rest[start + length + 1..];
    }
    parts.push(SubPart::Text(rest));
    Ok(parts)
}

/// `Name.Attribute`, or the same as a list.
fn get_att(argument: &Node) -> Result<(String, String), Problem> {
    let parts = match &argument.data {
        Data::Text(text) => text.split_once('.').map(|(name, attribute)| (name.to_owned(), attribute.to_owned())),
        Data::List(items) => match items.as_slice() {
            [name, attribute] => name.as_text().zip(attribute.as_text()),
            _ => None,
        },
        _ => None,
    };
    parts.ok_or_else(|| Problem::new(argument.line, "!GetAtt takes Name.Attribute or [Name, Attribute]"))
}

/// The parameters and resources that a tree refers to, with the lines. Branches that are not taken are included.
pub(crate) fn names(node: &Node) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    node.visit(&mut |node| {
        let Data::Call(function, argument) = &node.data else { return };
        match function.as_str() {
            "Ref" => names.extend(argument.as_text().map(|name| (node.line, base(&name).to_owned()))),
            "GetAtt" => names.extend(get_att(argument).ok().map(|(name, _)| (node.line, name))),
            "Sub" => {
                let Ok((template, variables)) = sub_arguments(node.line, argument) else { return };
                for part in sub_parts(&template).unwrap_or_default() {
                    if let SubPart::Name(name) = part
                        && variables.and_then(|variables| variables.get(name)).is_none()
                    {
                        names.push((node.line, base(name).to_owned()));
                    }
                }
            }
            _ => {}
        }
    });
    names
}

/// The name before the dot of an attribute.
fn base(name: &str) -> &str {
    name.split_once('.').map_or(name, |(name, _)| name)
}

/// The names of the conditions in a tree, with the lines.
pub(crate) fn conditions(node: &Node) -> Vec<(usize, String)> {
    let mut conditions = Vec::new();
    node.visit(&mut |node| {
        if let Data::Call(function, argument) = &node.data
            && function == "If"
            && let Data::List(items) = &argument.data
        {
            conditions.extend(items.first().and_then(Node::as_text).map(|name| (node.line, name)));
        }
    });
    conditions
}
