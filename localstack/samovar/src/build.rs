//! Builds the functions with cargo, and finds what it made.
//!
//! This is a module, not a build script: a local stack may run functions of any workspace, so it cannot have them as
//! dependencies. One cargo command builds all functions of a directory, from that directory and without `-p`: features are
//! then unified over the same packages as in the user's own `cargo build`, and nothing is compiled twice. For the same reason
//! the variables that an outer `cargo run` sets for us are kept from the inner cargo: build scripts watch some.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Why there are no programs to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("cargo is needed to build the functions and was not found as {}", .cargo.display())]
    NoCargo { cargo: PathBuf },
    #[error("cargo could not be run in {}", .directory.display())]
    NotRun { directory: PathBuf, source: std::io::Error },
    /// Cargo's own diagnostics have been printed above this.
    #[error(
        "{} {} not build in {} (cargo: {status})",
        if .functions.len() == 1 { "Function" } else { "Functions" },
        join_and(.functions),
        .directory.display()
    )]
    Failed { functions: Vec<String>, directory: PathBuf, status: ExitStatus },
}

/// Builds each `(code directory, binary)` and returns the programs by binary name.
///
/// Cargo reports its progress and its diagnostics on our standard error.
pub(crate) async fn build(
    functions: &[(PathBuf, String)],
    release: bool,
) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let mut by_directory: BTreeMap<&Path, BTreeSet<&str>> = BTreeMap::new();
    for (directory, binary) in functions {
        by_directory.entry(directory).or_default().insert(binary);
    }
    let mut programs = BTreeMap::new();
    for (directory, binaries) in by_directory {
        programs.extend(build_directory(directory, &binaries, release).await?);
    }
    Ok(programs)
}

async fn build_directory(
    directory: &Path,
    binaries: &BTreeSet<&str>,
    release: bool,
) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let cargo = cargo_from(&variable);
    eprintln!("    Building {} functions in {}", binaries.len(), directory.display());

    let mut command = Command::new(&cargo);
    command.arg("build").args(binaries.iter().flat_map(|binary| ["--bin", binary]));
    // With --keep-going what is missing at the end is what does not build, not what was not reached.
    command.args(["--keep-going", "--message-format=json-render-diagnostics"]);
    if release {
        command.arg("--release");
    }
    for name in names_of_variables().into_iter().filter(|name| belongs_to_outer_cargo(name)) {
        command.env_remove(name);
    }
    command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);

    let not_run = |source| BuildError::NotRun { directory: directory.to_owned(), source };
    let mut child = command.spawn().map_err(|error| match error.kind() {
        // The same error comes when the directory is missing.
        std::io::ErrorKind::NotFound if directory.is_dir() => BuildError::NoCargo { cargo },
        _ => not_run(error),
    })?;
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
        false => Err(BuildError::Failed { functions: missing, directory: directory.to_owned(), status }),
    }
}

/// The binary that a line of cargo's JSON tells of, if it tells of one.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    #[derive(serde::Deserialize)]
    struct Artifact {
        target: Target,
        executable: Option<PathBuf>,
    }
    #[derive(serde::Deserialize)]
    struct Target {
        name: String,
        kind: Vec<String>,
    }
    let artifact: Artifact = serde_json::from_str(message).ok()?;
    let is_binary = artifact.target.kind.iter().any(|kind| kind == "bin");
    Some((artifact.target.name, artifact.executable.filter(|_| is_binary)?))
}

/// Cargo sets `CARGO` to itself for what it runs; a user may set it to choose one.
fn cargo_from(variable: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
    variable("CARGO").filter(|cargo| !cargo.is_empty()).map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// Whether cargo has set this for the package it runs, as opposed to a user's setting for cargo (`CARGO_HOME`,
/// `CARGO_TARGET_DIR`, `CARGO_BUILD_…`, `CARGO_PROFILE_…`, `RUSTFLAGS`, `RUSTUP_…`).
fn belongs_to_outer_cargo(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "CARGO_CRATE_NAME",
        "CARGO_MAKEFLAGS",
        "CARGO_PRIMARY_PACKAGE",
        "CARGO_TARGET_TMPDIR",
        "MAKEFLAGS",
        "NUM_JOBS",
        "OUT_DIR",
    ];
    const PREFIXES: [&str; 5] = ["CARGO_BIN_", "CARGO_CFG_", "CARGO_FEATURE_", "CARGO_MANIFEST_", "CARGO_PKG_"];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[allow(clippy::disallowed_methods, reason = "cargo's own interface is the environment")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

#[allow(clippy::disallowed_methods, reason = "cargo's own interface is the environment")]
fn names_of_variables() -> Vec<String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
}

/// `a`, `a and b`, `a, b and c`, followed by the verb; nothing missing means that cargo failed otherwise.
fn join_and(names: &[String]) -> String {
    match names {
        [] => "did".into(),
        [one] => format!("{one} does"),
        [rest @ .., last] => format!("{} and {last} do", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace with one function per source; the package is named otherwise than its binary.
    fn workspace(functions: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"functions/*\"]\n");
        // Apart from everybody else's, so that the test neither waits for a lock nor leaves anything.
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

    fn wanted(directory: &tempfile::TempDir, names: &[&str]) -> Vec<(PathBuf, String)> {
        names.iter().map(|name| (directory.path().to_owned(), (*name).to_owned())).collect()
    }

    #[tokio::test]
    async fn builds_what_is_asked_for_and_finds_the_programs() {
        let directory = workspace(&[("one", "fn main() {}"), ("two", "fn main() {}"), ("other", "not rust")]);
        let programs = build(&wanted(&directory, &["one", "two"]), false).await.unwrap();
        assert_eq!(programs.keys().collect::<Vec<_>>(), ["one", "two"]);
        assert!(programs.values().all(|program| program.is_file()));
        assert_eq!(programs, build(&wanted(&directory, &["one", "two"]), false).await.unwrap());
    }

    #[tokio::test]
    async fn names_exactly_the_functions_that_do_not_build() {
        let directory = workspace(&[("bad", "fn main() { nonsense }"), ("good", "fn main() {}"), ("ugly", "fn")]);
        let error = build(&wanted(&directory, &["bad", "good", "ugly"]), false).await.unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("Functions bad and ugly do not build in "), "{message}");
    }

    #[tokio::test]
    async fn names_a_function_that_does_not_exist() {
        let directory = workspace(&[("good", "fn main() {}")]);
        let message = build(&wanted(&directory, &["missing"]), false).await.unwrap_err().to_string();
        assert!(message.starts_with("Function missing does not build in "), "{message}");
    }

    #[test]
    fn the_variable_cargo_names_the_cargo() {
        assert_eq!(cargo_from(&|_| None), Path::new("cargo"));
        assert_eq!(cargo_from(&|name| (name == "CARGO").then(|| "/opt/cargo".into())), Path::new("/opt/cargo"));
    }

    #[test]
    fn settings_of_the_user_are_kept_and_those_of_the_outer_package_are_not() {
        for kept in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_JOBS", "RUSTUP_TOOLCHAIN", "RUSTFLAGS", "PATH"] {
            assert!(!belongs_to_outer_cargo(kept), "{kept}");
        }
        for removed in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_BIN_EXE_samovar", "OUT_DIR"] {
            assert!(belongs_to_outer_cargo(removed), "{removed}");
        }
    }
}
