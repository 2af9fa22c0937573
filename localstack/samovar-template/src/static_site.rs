//! `Metadata.StaticSite`: the web site of the stack, how it is built, and which values of the stack it receives.
//!
//! CloudFormation computes nothing in `Metadata`, so these values cannot be written with `!Ref` and the like. Instead,
//! a map of the form [`VALUE`] names an output or a parameter. Here the local stack looks it up, otherwise the tool
//! that deploys the site does.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde_json::Value;

use super::error::{Problems, hint};
use super::fields::{Fields, Schema};
use super::model::{ResponseHeaders, SiteBuild, StaticSite};
use super::parameters::Parameter;
use super::yaml::{Data, Entry, Node};

pub(crate) const SITE: Schema = Schema {
    subject: "Metadata.StaticSite",
    required: &["Directory"],
    optional: &["Build", "Fallback", "Files", "Headers", "Immutable"],
    ignored: &[],
};

pub(crate) const BUILD: Schema = Schema {
    subject: "Metadata.StaticSite.Build",
    required: &["Directory", "Run", "Sources"],
    optional: &["Install", "Needs"],
    ignored: &[],
};

/// Where a value comes from. Such a map is recognised by keys that begin with a capital letter.
pub(crate) const VALUE: Schema = Schema {
    subject: "A value in Metadata.StaticSite.Files",
    required: &[],
    optional: &["Else", "IfLocalIssuer", "Output", "Parameter", "Then"],
    ignored: &[],
};

/// The tables in which values are looked up.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    pub(super) folder: &'a Path,
    pub(super) parameters: &'a BTreeMap<String, Parameter>,
    pub(super) outputs: &'a BTreeMap<String, String>,
    pub(super) headers: &'a [ResponseHeaders],
    /// The address of the local issuer.
    pub(super) issuer: &'a str,
}

pub(super) fn read(metadata: Option<&Node>, sources: &Sources<'_>, problems: &Problems) -> Option<StaticSite> {
    let site = Fields::new(&SITE, metadata?.get("StaticSite")?, problems);
    let headers = site.text("Headers").and_then(|name| {
        let found = sources.headers.iter().find(|policy| policy.logical_id == name);
        if found.is_none() {
            let hint = hint(&name, sources.headers.iter().map(|policy| policy.logical_id.as_str()));
            let what = "which is not an AWS::CloudFront::ResponseHeadersPolicy of this template";
            site.wrong("Headers", &format!("is {name}, {what}{hint}"));
        }
        found.map(|policy| policy.headers.clone())
    });
    let build = site.map("Build", &BUILD).and_then(|build| {
        let texts = (build.text("Directory"), build.text("Run"), build.texts("Sources"));
        let (needs, install) = (build.text("Needs"), build.text("Install"));
        let (Some(directory), Some(run), Some(of)) = texts else { return None };
        Some(SiteBuild { directory: sources.folder.join(directory), needs, install, run, sources: of })
    });
    let inside = |name: &str| {
        let what = format!("{}.{name}", SITE.subject);
        site.text(name).filter(|path| is_inside(site.line(name), &what, path, problems))
    };
    let (fallback, immutable, files) = (inside("Fallback"), inside("Immutable"), files(&site, sources));
    let directory = sources.folder.join(site.text("Directory")?);
    Some(StaticSite { directory, build, fallback, immutable, headers: headers.unwrap_or_default(), files })
}

/// Whether a path stays inside the directory.
fn is_inside(line: usize, what: &str, path: &str, problems: &Problems) -> bool {
    let inside = !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside {
        let must = "must be a relative path inside the directory";
        problems.add(line, format!("{what} is \"{path}\", but {must}"));
    }
    inside
}

fn files(site: &Fields<'_>, sources: &Sources<'_>) -> BTreeMap<String, Value> {
    let Some(node) = site.node("Files") else { return BTreeMap::new() };
    if !matches!(node.data, Data::Map(_)) {
        site.wrong("Files", "must be a map of files");
    }
    let mut files = BTreeMap::new();
    for Entry { line, key, value: content } in node.entries() {
        if !key.ends_with(".json") {
            site.problems()
                .add(*line, format!("The file {key} must end with .json: the local stack writes only JSON files"));
        }
        is_inside(*line, "The file's name", key, site.problems());
        files.extend(value(content, sources, site.problems()).map(|content| (key.clone(), content)));
    }
    files
}

fn value(node: &Node, sources: &Sources<'_>, problems: &Problems) -> Option<Value> {
    match &node.data {
        Data::Map(entries) if entries.iter().any(|entry| entry.key.starts_with(|c: char| c.is_ascii_uppercase())) => {
            looked_up(&Fields::new(&VALUE, node, problems), sources)
        }
        Data::Map(entries) => {
            let values = entries.iter().map(|entry| Some((entry.key.clone(), value(&entry.value, sources, problems)?)));
            // Every value is read before the first failure ends it, so that all problems are shown.
            values.collect::<Vec<_>>().into_iter().collect()
        }
        Data::List(items) => {
            let values = items.iter().map(|item| value(item, sources, problems));
            values.collect::<Vec<_>>().into_iter().collect()
        }
        Data::Call(function, _) => {
            let message = format!(
                "CloudFormation does not compute !{function} in Metadata: write {{Parameter: NAME}} or {{Output: NAME}}"
            );
            problems.add(node.line, message);
            None
        }
        _ => Some(node.to_json()),
    }
}

fn looked_up(fields: &Fields<'_>, sources: &Sources<'_>) -> Option<Value> {
    let given: Vec<_> = ["IfLocalIssuer", "Output", "Parameter"].into_iter().filter(|name| fields.has(name)).collect();
    let [one] = given.as_slice() else {
        let message = format!("{} needs one of Output, Parameter and IfLocalIssuer", VALUE.subject);
        fields.problems().add(fields.line(""), message);
        return None;
    };
    if *one != "IfLocalIssuer"
        && let Some(name) = ["Then", "Else"].into_iter().find(|name| fields.has(name))
    {
        fields.wrong(name, "is allowed only with IfLocalIssuer");
    }
    let output = |name: &str| {
        let found = sources.outputs.get(name).cloned();
        if found.is_none() {
            let hint = hint(name, sources.outputs.keys().map(String::as_str));
            fields.wrong(one, &format!("is {name}, which is not an output with a value here{hint}"));
        }
        found
    };
    let name = fields.text(one)?;
    match *one {
        "Output" => output(&name).map(Value::from),
        "Parameter" => {
            let found = sources.parameters.get(&name);
            if found.is_none() {
                let hint = hint(&name, sources.parameters.keys().map(String::as_str));
                fields.wrong(one, &format!("is {name}, which is not a parameter of this template{hint}"));
            }
            found.map(Parameter::to_json)
        }
        _ => {
            for name in ["Then", "Else"].into_iter().filter(|name| !fields.has(name)) {
                fields.wrong(one, &format!("needs {name} beside it"));
            }
            let (yes, no) = (fields.text("Then")?, fields.text("Else")?);
            Some(if output(&name)? == sources.issuer { yes } else { no }.into())
        }
    }
}
