//! A function in JavaScript. It runs from its own folder, with AWS's runtime interface client for Node.js
//! (`aws-lambda-ric`), which is installed into the user's cache.
//!
//! The client speaks to the Runtime API through an add-on in C++, which npm would compile with CMake, the autotools and
//! minutes of time. Few machines have all of these. So npm installs the client without the add-on, and
//! `nodejs/client.cjs` takes the add-on's place: three calls over HTTP. All else is AWS's own code: handlers of each
//! kind, the context, errors, the format of the log.
//!
//! Lambda has AWS's SDK for every function: version 3, and version 2 up to Node.js 16. The packages of it that a
//! function's files name are installed beside the client. The function's own packages go before them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use samovar_host::{Code, Debug};
use samovar_template::{BuildMethod, Function};
use tokio::process::Command;

use super::{BuildError, cache, run};

/// Of the versions that run on Node.js 18 to 24, the newest.
const CLIENT: &str = "aws-lambda-ric@3.3.0";
/// The package of the SDK's version 2.
const SDK_2: &str = "aws-sdk";
/// The port that editors expect Node's inspector at.
pub(super) const DEBUG_PORT: u16 = 9229;
pub(super) const REMEDY: &str = "install Node.js 20 or newer, with npm";
/// The files that are written beside the client.
const FILES: [(&str, &str); 4] = [
    ("client.cjs", include_str!("nodejs/client.cjs")),
    ("main.mjs", include_str!("nodejs/main.mjs")),
    ("names.cjs", include_str!("nodejs/names.cjs")),
    ("sdk.mjs", include_str!("nodejs/sdk.mjs")),
];
/// More files than this are not looked through for the packages of the SDK that they use.
const MAX_FILES: usize = 2000;

pub(super) async fn code(
    function: &Function,
    task_root: PathBuf,
    cache: &Path,
    debug: Option<Debug>,
) -> Result<Code, BuildError> {
    let program = node(function).await?;
    if function.build_method != BuildMethod::Makefile {
        install_packages(function).await?;
    }
    let sdk = match &function.build_method {
        // All that it needs is in the result, which may also name packages that it has inside.
        BuildMethod::Esbuild(options) if !options.external.iter().any(|name| is_of_sdk(name)) => BTreeSet::new(),
        _ => sdk_packages(&task_root, has_sdk_2(&function.runtime)),
    };
    let packages = sdk.iter().cloned().collect::<Vec<_>>().join(" ");
    let name =
        cache::name_of(&[CLIENT.as_bytes(), packages.as_bytes(), FILES.map(|(_, text)| text).concat().as_bytes()]);
    let make = async |folder: PathBuf| install_client(function, &sdk, &folder).await;
    let runtime = cache::folder(&cache.join("node"), &name, make).await?;
    let file = |name: &str| runtime.join(name).to_string_lossy().into_owned();
    let mut args = Vec::new();
    if let Some(Debug::Listening { port }) = debug {
        let option = if knows_inspect_wait(&program).await { "wait" } else { "brk" };
        args.push(format!("--inspect-{option}=127.0.0.1:{port}"));
    }
    if matches!(function.build_method, BuildMethod::Esbuild(_)) {
        args.push("--enable-source-maps".to_owned());
    }
    for preload in ["names.cjs", "client.cjs"] {
        args.extend(["--require".to_owned(), file(preload)]);
    }
    args.extend([file("main.mjs"), function.handler.clone()]);
    Ok(Code {
        program,
        args,
        task_root,
        environment: [("NODE_PATH".to_owned(), file("node_modules"))].into(),
        runtime_dir: runtime,
    })
}

/// The path of Node.js. It is asked for it, because a version manager may have put a script in its place.
async fn node(function: &Function) -> Result<PathBuf, BuildError> {
    let mut command = Command::new("node");
    command.args(["-p", "process.execPath + '\\n' + process.versions.node"]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true).output().await;
    let answer = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut lines = answer.lines();
    let (Some(path), Some(version)) = (lines.next(), lines.next()) else {
        return Err(BuildError::NoTool { tool: "node".to_owned(), remedy: REMEDY });
    };
    let wanted = function.runtime.trim_start_matches("nodejs").trim_end_matches(".x");
    if version.split('.').next() != Some(wanted) {
        tracing::warn!("{}: Node.js {wanted} is not on this machine, so {version} runs it", function.name);
    }
    Ok(path.into())
}

/// Whether Node.js can wait for a debugger without stopping at the first line, as it can from 20.15 on.
async fn knows_inspect_wait(node: &Path) -> bool {
    let mut command = Command::new(node);
    command.args(["--inspect-wait", "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(true).status().await.is_ok_and(|status| status.success())
}

/// Installs the packages of the function's own `package.json` where its user expects them, beside it. Nothing happens
/// if they are there already.
pub(super) async fn install_packages(function: &Function) -> Result<(), BuildError> {
    let directory = &function.code_dir;
    let (manifest, lock) = (directory.join("package.json"), directory.join("package-lock.json"));
    let Ok(text) = std::fs::read(&manifest) else { return Ok(()) };
    let manifest_json: serde_json::Value = serde_json::from_slice(&text).map_err(|error| {
        let problem = format!("{} is no JSON: {error}", manifest.display());
        BuildError::Unusable { function: function.name.clone(), problem }
    })?;
    // A build may need more than the function itself.
    let of_build = matches!(function.build_method, BuildMethod::Esbuild(_)).then_some("devDependencies");
    let has_packages = ["dependencies", "optionalDependencies"]
        .into_iter()
        .chain(of_build)
        .any(|kind| manifest_json[kind].as_object().is_some_and(|packages| !packages.is_empty()));
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    // npm writes this file at the end of each installation.
    let installed = changed(&directory.join("node_modules/.package-lock.json"));
    let newest = [changed(&manifest), changed(&lock)].into_iter().flatten().max().unwrap_or(SystemTime::UNIX_EPOCH);
    // Another tool than npm may have filled it, and that tool keeps it up to date.
    let of_another = directory.join("node_modules").is_dir() && installed.is_none();
    if !has_packages || of_another || installed.is_some_and(|installed| installed >= newest) {
        return Ok(());
    }
    let verb = if lock.is_file() { "ci" } else { "install" };
    eprintln!("    Installing the packages of {} in {} (npm {verb})", function.name, directory.display());
    let mut npm = Command::new("npm");
    npm.args([verb, "--no-audit", "--no-fund", "--loglevel=error"]);
    run("npm", REMEDY, &mut npm, directory, function).await
}

async fn install_client(function: &Function, sdk: &BTreeSet<String>, folder: &Path) -> Result<(), BuildError> {
    eprintln!("    Installing the Node.js runtime of {}, once", function.name);
    for (name, text) in [("package.json", "{\"private\":true}")].iter().chain(&FILES) {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|source| BuildError::NotWritten { path, source })?;
    }
    let mut npm = Command::new("npm");
    npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", CLIENT]).args(sdk);
    run("npm", REMEDY, &mut npm, folder, function).await
}

/// Whether Lambda has version 2 of the SDK for functions of this runtime.
fn has_sdk_2(runtime: &str) -> bool {
    let version = runtime.trim_start_matches("nodejs").split('.').next().and_then(|version| version.parse().ok());
    version.is_some_and(|version: u32| version <= 16)
}

/// Whether a name of an external package may mean one of AWS's SDK.
fn is_of_sdk(name: &str) -> bool {
    name == "*" || name.starts_with("@aws-sdk") || name.starts_with(SDK_2)
}

/// The packages of AWS's SDK that the files in this folder name, without those of installed packages.
fn sdk_packages(folder: &Path, version_2: bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && name != "node_modules" && !name.to_string_lossy().starts_with('.') {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|ext| ext == "js" || ext == "mjs" || ext == "cjs")
            {
                files += 1;
                if files > MAX_FILES {
                    return found;
                }
                let text = std::fs::read_to_string(path).unwrap_or_default();
                found.extend(named_in(&text));
                if version_2 && text.split(['"', '\'']).any(|quoted| quoted.split('/').next() == Some(SDK_2)) {
                    found.insert(SDK_2.to_owned());
                }
            }
        }
    }
    found
}

fn named_in(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(['"', '\'']).filter_map(|quoted| {
        let name = quoted.strip_prefix("@aws-sdk/")?.split('/').next()?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (!name.is_empty() && name.bytes().all(plain)).then(|| format!("@aws-sdk/{name}"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::function;
    use super::*;

    #[test]
    fn the_packages_of_the_sdk_are_those_that_the_files_name() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("a.mjs", "import { A } from '@aws-sdk/client-sqs';\nimport b from \"@aws-sdk/util-dynamodb/x\";");
        write("lib/b.js", "require('@aws-sdk/client-sqs'); '@aws-sdk/; rm -rf /'; '@aws-sdk/'; 'other'");
        write("node_modules/x/index.js", "require('@aws-sdk/client-s3')");
        write("readme.md", "'@aws-sdk/client-iam'");
        write("c.js", "require('aws-sdk/clients/s3'); require('aws-sdk-mock')");
        let found = |runtime| Vec::from_iter(sdk_packages(folder.path(), has_sdk_2(runtime)));
        assert_eq!(found("nodejs18.x"), ["@aws-sdk/client-sqs", "@aws-sdk/util-dynamodb"]);
        assert_eq!(found("nodejs16.x"), ["@aws-sdk/client-sqs", "@aws-sdk/util-dynamodb", "aws-sdk"]);
    }

    #[tokio::test]
    async fn packages_that_are_installed_or_not_needed_are_not_installed_again() {
        let folder = tempfile::tempdir().unwrap();
        let function = function("F", "nodejs20.x", folder.path());
        // None of these runs npm: it would fail at a package that does not exist.
        install_packages(&function).await.unwrap();
        std::fs::write(folder.path().join("package.json"), "{\"type\":\"module\"}").unwrap();
        install_packages(&function).await.unwrap();
        std::fs::write(folder.path().join("package.json"), "{\"dependencies\":{\"./none\":\"file:./none\"}}").unwrap();
        std::fs::create_dir(folder.path().join("node_modules")).unwrap();
        install_packages(&function).await.unwrap();
        std::fs::write(folder.path().join("node_modules/.package-lock.json"), "{}").unwrap();
        install_packages(&function).await.unwrap();
        std::fs::write(folder.path().join("package.json"), "no JSON").unwrap();
        let error = install_packages(&function).await.unwrap_err().to_string();
        assert!(error.contains("package.json is no JSON: "), "{error}");
    }
}
