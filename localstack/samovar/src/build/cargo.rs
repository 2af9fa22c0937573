//! Builds Rust functions with cargo, and finds the resulting programs.
//!
//! One cargo command builds all functions of a directory, from that directory and without `-p`. Features are then
//! unified over the same packages as in the user's own `cargo build`, and nothing is compiled twice. For the same
//! reason, the inner cargo does not inherit the variables that an outer `cargo run` has set: build scripts watch some
//! of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use samovar_template::Function;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::BuildError;

/// Builds these functions and returns their programs, by the names of the functions.
///
/// Cargo reports its progress and its diagnostics on this process's standard error.
pub(super) async fn build(functions: &[&Function], release: bool) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let mut by_directory: BTreeMap<&Path, Vec<(&Function, String)>> = BTreeMap::new();
    for &function in functions {
        let binary = match &function.binary {
            Some(binary) => binary.clone(),
            None => binary_of(function).await?,
        };
        by_directory.entry(&function.code_dir).or_default().push((function, binary));
    }
    let mut programs = BTreeMap::new();
    for (directory, functions) in by_directory {
        let binaries = functions.iter().map(|(_, binary)| binary.as_str()).collect();
        let built = build_directory(directory, &binaries, release).await?;
        for (function, binary) in functions {
            programs.extend(built.get(&binary).map(|program| (function.name.clone(), program.clone())));
        }
    }
    Ok(programs)
}

/// The binary of a function whose template names none: the only one of the package in its folder, or the one that has
/// the name of the handler or of the function.
async fn binary_of(function: &Function) -> Result<String, BuildError> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(serde::Deserialize)]
    struct Package {
        manifest_path: PathBuf,
        targets: Vec<Target>,
    }
    let directory = &function.code_dir;
    let mut command = cargo_command(directory);
    command.args(["metadata", "--no-deps", "--format-version=1"]).stderr(Stdio::inherit());
    let output = command.output().await.map_err(|error| not_started(directory, error))?;
    let unusable = |problem: String| BuildError::Unusable { function: function.name.clone(), problem };
    let metadata: Metadata = serde_json::from_slice(&output.stdout).map_err(|_| {
        let status = output.status;
        unusable(format!("cargo could not read the package in {} (cargo metadata: {status})", directory.display()))
    })?;
    let manifest = directory.join("Cargo.toml").canonicalize().ok();
    let own = |package: &&Package| package.manifest_path.canonicalize().ok() == manifest;
    let bins = |package: &Package| {
        let bins = package.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "bin"));
        bins.map(|target| target.name.clone()).collect::<Vec<_>>()
    };
    // A folder without a package of its own is a workspace, and any of its members may have the binary.
    let binaries: Vec<String> = match metadata.packages.iter().find(own) {
        Some(package) => bins(package),
        None => metadata.packages.iter().flat_map(bins).collect(),
    };
    let plain = |name: &str| name.replace(['-', '_'], "").to_lowercase();
    let named = |name: &String| [&function.handler, &function.logical_id].iter().any(|own| plain(own) == plain(name));
    match (binaries.as_slice(), binaries.iter().find(|name| named(name))) {
        ([one], _) | (_, Some(one)) => Ok(one.clone()),
        ([], _) => Err(unusable(format!("the package in {} has no binary", directory.display()))),
        (several, None) => Err(unusable(format!(
            "the package in {} has the binaries {}, and none is named like the handler or the function: name one in \
             Metadata, BuildProperties: {{ Binary: … }}",
            directory.display(),
            several.join(", ")
        ))),
    }
}

/// The part of cargo's JSON that describes a target.
#[derive(serde::Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Cargo in this directory, without the variables of an outer cargo.
fn cargo_command(directory: &Path) -> Command {
    let mut command = Command::new(cargo_from(&super::variable));
    super::without_outer_cargo(&mut command);
    command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

fn not_started(directory: &Path, error: std::io::Error) -> BuildError {
    BuildError::not_started("cargo", "install Rust, or set CARGO to a cargo", directory, error)
}

async fn build_directory(
    directory: &Path,
    binaries: &BTreeSet<&str>,
    release: bool,
) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let plural = if binaries.len() == 1 { "" } else { "s" };
    eprintln!("    Building {} function{plural} in {}", binaries.len(), directory.display());

    let mut command = cargo_command(directory);
    command.arg("build").args(binaries.iter().flat_map(|binary| ["--bin", binary]));
    // With --keep-going, a program that is missing at the end does not build. Without it, it might only not have been
    // reached.
    command.args(["--keep-going", "--message-format=json-render-diagnostics"]);
    if release {
        command.arg("--release");
    }
    let mut child = command.spawn().map_err(|error| not_started(directory, error))?;
    let not_run = |error| not_started(directory, error);
    let mut programs = BTreeMap::new();
    if let Some(messages) = child.stdout.take() {
        let mut messages = BufReader::new(messages).lines();
        while let Some(message) = messages.next_line().await.map_err(not_run)? {
            programs.extend(executable(&message).filter(|(name, _)| binaries.contains(name.as_str())));
        }
    }
    let status = child.wait().await.map_err(not_run)?;
    let missing: Vec<_> =
        binaries.iter().filter(|binary| !programs.contains_key(**binary)).map(|binary| (*binary).to_owned()).collect();
    match status.success() && missing.is_empty() {
        true => Ok(programs),
        false => Err(BuildError::failed("cargo", missing, directory, status)),
    }
}

/// The binary in a line of cargo's JSON, if the line names one.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    #[derive(serde::Deserialize)]
    struct Artifact {
        target: Target,
        executable: Option<PathBuf>,
    }
    let artifact: Artifact = serde_json::from_str(message).ok()?;
    let is_binary = artifact.target.kind.iter().any(|kind| kind == "bin");
    Some((artifact.target.name, artifact.executable.filter(|_| is_binary)?))
}

/// Cargo sets `CARGO` to itself for the programs that it runs. A user may also set it, to choose a cargo.
fn cargo_from(variable: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
    variable("CARGO").filter(|cargo| !cargo.is_empty()).map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::super::testing::function;
    use super::*;

    /// A workspace with one function per source. Each package has another name than its binary.
    fn workspace(functions: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"functions/*\"]\n");
        // The workspace has its own target folder, so that the test neither waits for a lock nor leaves files behind.
        write(".cargo/config.toml", "[build]\ntarget-dir = \"target\"\n");
        for (name, source) in functions {
            let manifest = format!(
                "[package]\nname = \"{name}-package\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                 [[bin]]\nname = \"{name}\"\npath = \"main.rs\"\n"
            );
            write(&format!("functions/{name}/Cargo.toml"), &manifest);
            write(&format!("functions/{name}/main.rs"), source);
        }
        directory
    }

    async fn build_in(directory: &tempfile::TempDir, names: &[&str]) -> Result<BTreeMap<String, PathBuf>, BuildError> {
        let functions: Vec<_> = names
            .iter()
            .map(|name| Function {
                binary: Some((*name).to_owned()),
                ..function(name, "provided.al2023", directory.path())
            })
            .collect();
        build(&functions.iter().collect::<Vec<_>>(), false).await
    }

    #[tokio::test]
    async fn a_build_makes_the_requested_programs_and_finds_them() {
        let directory = workspace(&[("one", "fn main() {}"), ("two", "fn main() {}"), ("other", "not rust")]);
        let programs = build_in(&directory, &["one", "two"]).await.unwrap();
        assert_eq!(programs.keys().collect::<Vec<_>>(), ["one", "two"]);
        assert!(programs.values().all(|program| program.is_file()));
        assert_eq!(programs, build_in(&directory, &["one", "two"]).await.unwrap());
    }

    #[tokio::test]
    async fn names_exactly_the_functions_that_do_not_build() {
        let directory = workspace(&[("bad", "fn main() { nonsense }"), ("good", "fn main() {}"), ("ugly", "fn")]);
        let error = build_in(&directory, &["bad", "good", "ugly"]).await.unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("Functions bad and ugly do not build in "), "{message}");
    }

    #[tokio::test]
    async fn names_a_function_that_does_not_exist() {
        let directory = workspace(&[("good", "fn main() {}")]);
        let message = build_in(&directory, &["missing"]).await.unwrap_err().to_string();
        assert!(message.starts_with("Function missing does not build in "), "{message}");
    }

    #[test]
    fn the_variable_cargo_names_the_cargo() {
        assert_eq!(cargo_from(&|_| None), Path::new("cargo"));
        assert_eq!(cargo_from(&|name| (name == "CARGO").then(|| "/opt/cargo".into())), Path::new("/opt/cargo"));
    }

    async fn binary(directory: &tempfile::TempDir, id: &str, handler: &str, folder: &str) -> Result<String, String> {
        let code_dir = directory.path().join(folder);
        let function = Function { handler: handler.to_owned(), ..function(id, "provided.al2023", &code_dir) };
        binary_of(&function).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn without_a_binary_in_the_template_it_is_the_only_one_or_the_one_of_that_name() {
        let directory = workspace(&[("get-order", "fn main() {}"), ("put-order", "fn main() {}")]);
        let lib = directory.path().join("functions/none");
        std::fs::create_dir_all(lib.join("src")).unwrap();
        std::fs::write(lib.join("Cargo.toml"), "[package]\nname = \"none\"\nversion = \"0.1.0\"\n").unwrap();
        std::fs::write(lib.join("src/lib.rs"), "").unwrap();

        // The only one of the package in the folder.
        assert_eq!(binary(&directory, "Any", "bootstrap", "functions/put-order").await.unwrap(), "put-order");
        // In a workspace, the one that has the name of the function or of the handler.
        assert_eq!(binary(&directory, "GetOrder", "bootstrap", ".").await.unwrap(), "get-order");
        assert_eq!(binary(&directory, "Any", "put_order", ".").await.unwrap(), "put-order");
        let several = binary(&directory, "Any", "bootstrap", ".").await.unwrap_err();
        assert!(several.contains("has the binaries get-order, put-order, and none is named"), "{several}");
        let none = binary(&directory, "Any", "bootstrap", "functions/none").await.unwrap_err();
        assert!(none.ends_with("functions/none has no binary"), "{none}");
        let unreadable = binary(&directory, "Any", "bootstrap", "functions").await;
        assert!(unreadable.is_ok() || unreadable.unwrap_err().contains("has the binaries"), "the workspace above it");
        std::fs::write(directory.path().join("Cargo.toml"), "nonsense").unwrap();
        let broken = binary(&directory, "Any", "bootstrap", ".").await.unwrap_err();
        assert!(broken.contains("cargo could not read the package in"), "{broken}");
    }
}
