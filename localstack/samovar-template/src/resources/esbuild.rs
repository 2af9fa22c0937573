//! `Metadata.BuildProperties` of the BuildMethod `esbuild`, by "Building Node.js Lambda functions with esbuild" in
//! SAM's developer guide.

use super::Context;
use crate::fields::{Fields, Schema};
use crate::model::Esbuild;
use crate::resource::Resource;

pub(crate) const ESBUILD: Schema = Schema {
    subject: "BuildProperties of esbuild",
    required: &["EntryPoints"],
    optional: &["External", "Format", "Loader", "MainFields", "Minify", "OutExtension", "Target"],
    // Here there are always source maps: traces and breakpoints are in the sources.
    ignored: &["Sourcemap", "SourcesContent", "UseNpmCi"],
};

/// As in SAM.
const DEFAULT_TARGET: &str = "es2020";

pub(super) fn read(context: &Context<'_>, resource: &Resource) -> Option<Esbuild> {
    let Some(properties) = resource.metadata.as_ref().and_then(|metadata| metadata.get("BuildProperties")) else {
        let message =
            format!("{} has the BuildMethod esbuild, which needs BuildProperties with EntryPoints", resource.id);
        context.problems.add(resource.line, message);
        return None;
    };
    let fields = Fields::new(&ESBUILD, properties, context.problems);
    let texts = |name| fields.texts(name).unwrap_or_default();
    Some(Esbuild {
        entry_points: fields.texts("EntryPoints")?,
        external: texts("External"),
        format: fields.choice("Format", &["cjs", "esm", "iife"]),
        loader: texts("Loader"),
        main_fields: fields.text("MainFields"),
        minify: fields.boolean("Minify").unwrap_or(true),
        out_extension: texts("OutExtension"),
        target: fields.text("Target").unwrap_or_else(|| DEFAULT_TARGET.to_owned()),
    })
}
