//! Builds a function in TypeScript or JavaScript with esbuild, as `sam build` does by `BuildMethod: esbuild`: its
//! modules and packages become one file for each entry point.
//!
//! esbuild is the project's own, in the folder of the function or one above it, or the one in the `PATH`. If there is
//! none, npm installs it into the user's cache. Unlike SAM, it always writes source maps, and Node.js reads them. So
//! traces name the files that the user edits, and breakpoints can be set there.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use samovar_template::{BuildMethod, Esbuild, Function};
use tokio::process::Command;

use super::{BuildError, cache, node, run};

/// The one for projects that have none.
const ESBUILD: &str = "esbuild@0.28.2";

/// Builds into this folder, which is the function's task root then.
pub(super) async fn build(function: &Function, artifacts: PathBuf, cache: &Path) -> Result<PathBuf, BuildError> {
    let BuildMethod::Esbuild(options) = &function.build_method else { return Ok(artifacts) };
    node::install_packages(function).await?;
    let directory = std::path::absolute(&function.code_dir).unwrap_or_else(|_| function.code_dir.clone());
    let program = match find(&directory).await {
        Some(program) => program,
        None => install(function, cache).await?,
    };
    eprintln!("    Building {} in {} (esbuild)", function.name, directory.display());
    let mut command = Command::new(program);
    command.args(arguments(options)).arg(format!("--outdir={}", artifacts.display()));
    run("esbuild", node::REMEDY, &mut command, &directory, function).await?;
    Ok(artifacts)
}

/// The command line, without the folder of the result.
fn arguments(options: &Esbuild) -> Vec<String> {
    let Esbuild { entry_points, external, format, loader, main_fields, minify, out_extension, target } = options;
    let mut all = entry_points.clone();
    all.extend(["--bundle", "--platform=node", "--sourcemap", "--log-level=warning"].map(str::to_owned));
    all.push(format!("--target={target}"));
    // For Node.js it is esbuild's own default, and SAM's.
    all.push(format!("--format={}", format.as_deref().unwrap_or("cjs")));
    all.extend(minify.then(|| "--minify".to_owned()));
    all.extend(main_fields.iter().map(|fields| format!("--main-fields={fields}")));
    all.extend(external.iter().map(|name| format!("--external:{name}")));
    all.extend(loader.iter().map(|loader| format!("--loader:{loader}")));
    all.extend(out_extension.iter().map(|extension| format!("--out-extension:{extension}")));
    all
}

/// The project's own esbuild, or the one in the `PATH`.
async fn find(directory: &Path) -> Option<PathBuf> {
    let own = directory.ancestors().map(|folder| folder.join("node_modules/.bin/esbuild")).find(|path| path.is_file());
    if own.is_some() {
        return own;
    }
    let mut version = Command::new("esbuild");
    version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    version.status().await.is_ok_and(|status| status.success()).then(|| "esbuild".into())
}

async fn install(function: &Function, cache: &Path) -> Result<PathBuf, BuildError> {
    let make = async |folder: PathBuf| {
        eprintln!("    Installing {ESBUILD} for {}, once", function.name);
        let path = folder.join("package.json");
        std::fs::write(&path, "{\"private\":true}").map_err(|source| BuildError::NotWritten { path, source })?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error", ESBUILD]);
        run("npm", node::REMEDY, &mut npm, &folder, function).await
    };
    let folder = cache::folder(&cache.join("esbuild"), &cache::name_of(&[ESBUILD.as_bytes()]), make).await?;
    Ok(folder.join("node_modules/.bin/esbuild"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_property_is_an_argument() {
        let none = Esbuild {
            entry_points: vec!["app.ts".into(), "b.ts".into()],
            external: Vec::new(),
            format: None,
            loader: Vec::new(),
            main_fields: None,
            minify: false,
            out_extension: Vec::new(),
            target: "es2020".into(),
        };
        let fixed = "app.ts b.ts --bundle --platform=node --sourcemap --log-level=warning --target=es2020";
        assert_eq!(arguments(&none).join(" "), format!("{fixed} --format=cjs"));
        let all = Esbuild {
            external: vec!["aws-sdk".into(), "@aws-sdk/*".into()],
            format: Some("esm".into()),
            loader: vec![".png=dataurl".into()],
            main_fields: Some("module,main".into()),
            minify: true,
            out_extension: vec![".js=.mjs".into()],
            ..none
        };
        let own = "--format=esm --minify --main-fields=module,main --external:aws-sdk --external:@aws-sdk/* \
                   --loader:.png=dataurl --out-extension:.js=.mjs";
        assert_eq!(arguments(&all).join(" "), format!("{fixed} {own}"));
    }

    #[tokio::test]
    async fn the_projects_own_goes_before_every_other() {
        let folder = tempfile::tempdir().unwrap();
        let function = folder.path().join("functions/hello");
        std::fs::create_dir_all(&function).unwrap();
        let of_the_machine = find(&function).await;
        assert!(of_the_machine.is_none_or(|path| path == Path::new("esbuild")));
        let bin = folder.path().join("node_modules/.bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(bin.join("esbuild"), "").unwrap();
        assert_eq!(find(&function).await, Some(bin.join("esbuild")));
    }
}
