//! The program of a function: the place of its code, its runtime, and the way to build it.

use std::path::PathBuf;

use super::{Context, esbuild};
use crate::fields::{Fields, Schema};
use crate::model::{BuildMethod, Code};
use crate::resource::{RAW_FUNCTION, Resource};
use crate::yaml::{Data, Node};

/// `Code` of an `AWS::Lambda::Function`.
pub(crate) const CODE: Schema = Schema {
    subject: "Code",
    required: &[],
    optional: &["ImageUri", "S3Bucket", "S3Key", "ZipFile"],
    ignored: &["S3ObjectVersion", "SourceKMSKeyArn"],
};

/// `CodeUri` as a map.
pub(crate) const CODE_URI: Schema =
    Schema { subject: "CodeUri", required: &["Bucket", "Key"], optional: &[], ignored: &["Version"] };

/// The build property of `rust-cargolambda`. Its others are for other tools.
const BINARY: &str = "Binary";

/// The program of a function: the fields of the model that it gives.
pub(super) struct Program {
    pub(super) code: Code,
    pub(super) code_dir: PathBuf,
    pub(super) runtime: String,
    pub(super) handler: String,
    pub(super) build_method: BuildMethod,
    pub(super) binary: Option<String>,
}

pub(super) fn read(context: &Context<'_>, resource: &Resource, fields: &Fields<'_>) -> Option<Program> {
    let image = fields.choice("PackageType", &["Image", "Zip"]).as_deref() == Some("Image");
    let (build_method, binary) = build_method(context, resource, fields);
    let code = if resource.type_name == RAW_FUNCTION {
        raw_place(context, fields, image)
    } else {
        place(context, fields, image)
    };
    if image {
        let message = format!("{} is a container image, which is not run here: its invocations fail", resource.id);
        context.problems.note(resource.line, message);
        let (runtime, handler, code_dir) = (String::new(), String::new(), context.folder.to_owned());
        return Some(Program { code: code?.0, code_dir, runtime, handler, build_method, binary });
    }
    for name in ["Handler", "Runtime"] {
        if !fields.has(name) {
            context.problems.add(resource.line, format!("{} needs the property \"{name}\"", resource.type_name));
        }
    }
    let (runtime, handler) = (fields.text("Runtime"), fields.text("Handler"));
    if let Some(runtime) = &runtime
        && !is_runtime(runtime)
    {
        let known = "provided.al2023, provided.al2, or one such as nodejs22.x and python3.13";
        fields.wrong("Runtime", &format!("cannot be \"{runtime}\" (known: {known})"));
    }
    let (code, code_dir) = code?;
    Some(Program { code, code_dir, runtime: runtime?, handler: handler?, build_method, binary })
}

/// Whether Lambda has, or had, a runtime of this name. New versions of the languages come every year.
fn is_runtime(name: &str) -> bool {
    let version = |text: &str| {
        !text.is_empty() && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    if ["go1.x", "nodejs", "provided", "provided.al2", "provided.al2023"].contains(&name) {
        return true;
    }
    let node = name.strip_prefix("nodejs").and_then(|rest| rest.strip_suffix(".x"));
    let java = name.strip_prefix("java").map(|rest| rest.strip_suffix(".al2").unwrap_or(rest));
    let other = ["dotnetcore", "dotnet", "python", "ruby"].into_iter().find_map(|family| name.strip_prefix(family));
    node.or(java).or(other).is_some_and(version)
}

fn place(context: &Context<'_>, fields: &Fields<'_>, image: bool) -> Option<(Code, PathBuf)> {
    if image {
        return Some((Code::Image(fields.text("ImageUri")), context.folder.to_owned()));
    }
    if fields.has("InlineCode") {
        return fields.text("InlineCode").map(|text| (Code::Inline(text), context.folder.to_owned()));
    }
    match fields.node("CodeUri") {
        Some(node @ Node { data: Data::Map(_), .. }) => {
            let uri = Fields::new(&CODE_URI, node, context.problems);
            elsewhere(context, node.line, format!("s3://{}/{}", uri.text("Bucket")?, uri.text("Key")?))
        }
        Some(node) => {
            let uri = fields.text("CodeUri")?;
            if uri.contains("://") {
                return elsewhere(context, node.line, uri);
            }
            Some((Code::Folder, context.folder.join(uri)))
        }
        None if fields.has("CodeUri") => None,
        // The default of the SAM CLI.
        None => Some((Code::Folder, context.folder.join("."))),
    }
}

fn raw_place(context: &Context<'_>, fields: &Fields<'_>, image: bool) -> Option<(Code, PathBuf)> {
    let node = fields.node("Code")?;
    // The AWS CLI packages a folder that is named here, as it does for CodeUri.
    if let Some(folder) = node.as_text() {
        return Some((Code::Folder, context.folder.join(folder)));
    }
    let code = Fields::new(&CODE, node, context.problems);
    if image {
        return Some((Code::Image(code.text("ImageUri")), context.folder.to_owned()));
    }
    if code.has("ZipFile") {
        return code.text("ZipFile").map(|text| (Code::Inline(text), context.folder.to_owned()));
    }
    if !code.has("S3Bucket") {
        code.wrong("ZipFile", "is missing: give ZipFile, a folder, or S3Bucket and S3Key");
        return None;
    }
    elsewhere(context, node.line, format!("s3://{}/{}", code.text("S3Bucket")?, code.text("S3Key")?))
}

/// Code that cannot be run from here.
fn elsewhere(context: &Context<'_>, line: usize, uri: String) -> Option<(Code, PathBuf)> {
    let what = format!("The code is at \"{uri}\" and not in a folder on this machine");
    let uri = context.problems.keep(context.scope.missing(line, &what, uri))?;
    Some((Code::Elsewhere(uri), context.folder.to_owned()))
}

/// `Metadata.BuildMethod`, with the binary that `rust-cargolambda` makes.
fn build_method(context: &Context<'_>, resource: &Resource, fields: &Fields<'_>) -> (BuildMethod, Option<String>) {
    let problems = context.problems;
    let method = resource.metadata.as_ref().and_then(|metadata| metadata.get("BuildMethod"));
    let method = method.and_then(|node| problems.keep(node.expect_text("Metadata.BuildMethod")));
    let method = match method.as_deref() {
        Some("rust-cargolambda") => return (BuildMethod::RustCargoLambda, binary(context, resource)),
        Some("makefile") => BuildMethod::Makefile,
        Some("esbuild") => match esbuild::read(context, resource) {
            Some(options) => BuildMethod::Esbuild(options),
            // Its problems are noted.
            None => BuildMethod::None,
        },
        Some("go1.x" | "go") => BuildMethod::Go,
        // The runtime's own way, by the name that SAM has for it.
        Some(own) if own.starts_with("nodejs") || own.starts_with("python") => BuildMethod::None,
        Some(other) => BuildMethod::Other(other.to_owned()),
        None if fields.text("Runtime").as_deref() == Some("go1.x") => BuildMethod::Go,
        None => BuildMethod::None,
    };
    (method, None)
}

fn binary(context: &Context<'_>, resource: &Resource) -> Option<String> {
    let problems = context.problems;
    let properties = resource.metadata.as_ref()?.get("BuildProperties")?;
    if !matches!(properties.data, Data::Map(_)) {
        problems.push(properties.not("Metadata.BuildProperties", "a map"));
    }
    let node = properties.get(BINARY)?;
    let binary = problems.keep(node.expect_text("BuildProperties.Binary"))?;
    // The name becomes part of paths and URLs.
    if binary.is_empty() || !binary.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        let message = format!("BuildProperties.Binary is \"{binary}\", which is not the name of a binary");
        problems.add(node.line, message);
    }
    Some(binary)
}

#[cfg(test)]
mod tests {
    use super::is_runtime;

    #[test]
    fn runtimes_have_the_names_that_lambda_gives_them() {
        for name in
            ["provided.al2023", "go1.x", "nodejs22.x", "python3.13", "java8.al2", "java21", "dotnet8", "ruby3.4"]
        {
            assert!(is_runtime(name), "{name}");
        }
        for name in ["provided.al2024", "nodejs22", "python", "python3.x", "rust1.x", "javascript", ""] {
            assert!(!is_runtime(name), "{name}");
        }
    }
}
