//! Builds the functions, each in the way of its language, and finds what their processes run.
//!
//! This is a module and not a build script, because a local stack may run functions of any project and cannot have them
//! as dependencies. The tools are the user's own: cargo, make, go, npm, pip. They report their progress and their
//! errors on this process's standard error.
//!
//! The code runs where its sources are, as far as the language allows it, so that a debugger and the traces of errors
//! name the files that the user edits. Programs that are built into a folder get one of their own for each build (see
//! [`Builder`]), so a running process never sees its program replaced.

mod cache;
mod cargo;
mod esbuild;
mod folder;
mod go;
mod makefile;
mod node;
mod program;
mod python;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use samovar_host::{Code, Debug};
use samovar_template::{BuildMethod, Function};
use tokio::process::Command;

/// The reason why the functions could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("{tool} was not found: {remedy}")]
    NoTool { tool: String, remedy: &'static str },
    #[error("{tool} could not be run in {}: check the CodeUri in the template", .directory.display())]
    NotRun { tool: String, directory: PathBuf, source: io::Error },
    /// The tool has already printed its own diagnostics.
    #[error(
        "{} {} not build in {} ({tool}: {status})",
        if .functions.len() == 1 { "Function" } else { "Functions" },
        join_and(.functions),
        .directory.display()
    )]
    Failed { tool: String, functions: Vec<String>, directory: PathBuf, status: ExitStatus },
    #[error("Function {function} can't run: {problem}")]
    Unusable { function: String, problem: String },
    #[error("{} could not be written: {source}", .path.display())]
    NotWritten { path: PathBuf, source: io::Error },
}

impl BuildError {
    fn not_started(tool: &str, remedy: &'static str, directory: &Path, error: io::Error) -> Self {
        match error.kind() {
            // A missing directory gives the same error as a missing program.
            io::ErrorKind::NotFound if directory.is_dir() => Self::NoTool { tool: tool.to_owned(), remedy },
            _ => Self::NotRun { tool: tool.to_owned(), directory: directory.to_owned(), source: error },
        }
    }

    fn failed(tool: &str, functions: Vec<String>, directory: &Path, status: ExitStatus) -> Self {
        Self::Failed { tool: tool.to_owned(), functions, directory: directory.to_owned(), status }
    }
}

/// Builds functions.
#[derive(Debug)]
pub(crate) struct Builder {
    release: bool,
    /// Whether functions may be built again while they run.
    again: bool,
    debugged: Option<Debugged>,
    /// Each build that needs one gets a folder of its own in it. It is removed with this value.
    folder: tempfile::TempDir,
    /// The links to programs that cargo has built. The last two of each function are kept: processes of the last but
    /// one may still be started.
    linked: Mutex<BTreeMap<String, VecDeque<tempfile::TempDir>>>,
    builds: AtomicU64,
    /// The folders that the builds of each function have made, as long as they are kept.
    made: Mutex<BTreeMap<String, VecDeque<PathBuf>>>,
    /// What several stacks can share, such as the runtimes of languages.
    cache: PathBuf,
}

/// The function that waits for a debugger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Debugged {
    /// Its name.
    pub(crate) function: String,
    /// Where the debugger connects. Without one, it is the usual port of the language.
    pub(crate) port: Option<u16>,
}

/// A function that is ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Built {
    pub(crate) code: Code,
    /// The files and folders that the code was built from.
    pub(crate) sources: Sources,
    /// How its processes wait for a debugger.
    pub(crate) debug: Option<Debug>,
}

/// What a function has been built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sources {
    /// The files that cargo has written into this file.
    DepInfo(PathBuf),
    /// Everything in this folder.
    Folder(PathBuf),
}

/// The way in which a function is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Cargo,
    Makefile,
    Esbuild,
    Go,
    Node,
    Python,
    /// The program is there already.
    Program,
}

impl Way {
    fn of(function: &Function) -> Self {
        match function.build_method {
            BuildMethod::RustCargoLambda => Self::Cargo,
            BuildMethod::Makefile => Self::Makefile,
            BuildMethod::Esbuild(_) => Self::Esbuild,
            BuildMethod::Go if program::is_built(function) => Self::Program,
            BuildMethod::Go => Self::Go,
            BuildMethod::None if function.runtime.starts_with("nodejs") => Self::Node,
            BuildMethod::None if function.runtime.starts_with("python") => Self::Python,
            BuildMethod::None if is_go(&function.code_dir) => Self::Go,
            // A stack runs no function with another method.
            BuildMethod::None | BuildMethod::Other(_) => Self::Program,
        }
    }
}

/// A folder with Go's sources and no program.
fn is_go(folder: &Path) -> bool {
    folder.join("go.mod").is_file() && !folder.join("bootstrap").exists()
}

impl Builder {
    /// `again` says whether functions may be built again while they run.
    pub(crate) fn new(release: bool, again: bool) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("samovar-build-").tempdir()?;
        #[cfg(not(test))]
        let cache = cache_folder(&variable);
        // Tests keep it beside their own programs: they write to no folder of their user.
        #[cfg(test)]
        let cache = std::env::current_exe()?.with_file_name("samovar-cache");
        let (linked, builds, made) = (Mutex::default(), AtomicU64::new(0), Mutex::default());
        Ok(Self { release, again, debugged: None, folder, linked, builds, made, cache })
    }

    /// Builds this function so that it waits for a debugger.
    pub(crate) fn debugging(mut self, debugged: Option<Debugged>) -> Self {
        self.debugged = debugged;
        self
    }

    /// How a function waits for a debugger: at a port, if its language has a debugger that listens at one.
    fn debug(&self, function: &Function, usual_port: Option<u16>) -> Option<Debug> {
        let debugged = self.debugged.as_ref().filter(|debugged| debugged.function == function.name)?;
        Some(match usual_port {
            Some(usual) => Debug::Listening { port: debugged.port.unwrap_or(usual) },
            None => Debug::UntilAttached,
        })
    }

    /// Builds these functions. The result has them by their names.
    ///
    /// # Errors
    /// The first function that does not build. With cargo, all that do not build in the same folder.
    pub(crate) async fn build(&self, functions: &[&Function]) -> Result<BTreeMap<String, Built>, BuildError> {
        functions.iter().try_for_each(|function| folder::check(function))?;
        let of_way = |way| functions.iter().copied().filter(move |function| Way::of(function) == way);
        let mut built = BTreeMap::new();
        let rust: Vec<_> = of_way(Way::Cargo).collect();
        for (name, program) in cargo::build(&rust, self.release).await? {
            // Cargo writes it beside the program.
            let sources = Sources::DepInfo(program.with_extension("d"));
            let program = if self.again { self.link(&name, &program)? } else { program };
            let debug = rust.iter().find(|function| function.name == name).and_then(|it| self.debug(it, None));
            built.insert(name, Built { code: Code::of_program(program), sources, debug });
        }
        for function in functions.iter().copied().filter(|function| Way::of(function) != Way::Cargo) {
            let written = self.write_inline(function)?;
            let function = written.as_ref().unwrap_or(function);
            let (code, debug) = self.build_one(function).await?;
            self.keep_two(function, &code.task_root);
            let sources = Sources::Folder(function.code_dir.clone());
            built.insert(function.name.clone(), Built { code, sources, debug });
        }
        Ok(built)
    }

    async fn build_one(&self, function: &Function) -> Result<(Code, Option<Debug>), BuildError> {
        let task_root = match Way::of(function) {
            Way::Makefile => makefile::build(function, self.new_folder(function)?).await?,
            Way::Esbuild => esbuild::build(function, self.new_folder(function)?, &self.cache).await?,
            Way::Go => go::build(function, self.new_folder(function)?).await?,
            _ => std::path::absolute(&function.code_dir).unwrap_or_else(|_| function.code_dir.clone()),
        };
        match function.runtime.as_str() {
            python if python.starts_with("python") => {
                let debug = self.debug(function, Some(python::DEBUG_PORT));
                Ok((python::code(function, task_root, &self.cache, debug).await?, debug))
            }
            node if node.starts_with("nodejs") => {
                let debug = self.debug(function, Some(node::DEBUG_PORT));
                Ok((node::code(function, task_root, &self.cache, debug).await?, debug))
            }
            _ => Ok((program::code(function, &task_root)?, self.debug(function, None))),
        }
    }

    /// Writes a function's code that the template contains into a folder of its own, as CloudFormation does: into a
    /// file called `index`.
    fn write_inline(&self, function: &Function) -> Result<Option<Function>, BuildError> {
        let samovar_template::Code::Inline(text) = &function.code else { return Ok(None) };
        let code_dir = self.new_folder(function)?;
        let path = code_dir.join(if function.runtime.starts_with("python") { "index.py" } else { "index.js" });
        std::fs::write(&path, text).map_err(|source| BuildError::NotWritten { path, source })?;
        Ok(Some(Function { code_dir, ..function.clone() }))
    }

    /// Gives this build of a program a name of its own, beside the one that the next build replaces. It is a second
    /// name of the same file, so it takes neither time nor space.
    fn link(&self, name: &str, program: &Path) -> Result<PathBuf, BuildError> {
        let not_written = |source| BuildError::NotWritten { path: program.to_owned(), source };
        let beside = program.parent().unwrap_or(Path::new("/"));
        let folder = tempfile::Builder::new().prefix(".samovar-").tempdir_in(beside).map_err(not_written)?;
        let link = folder.path().join(program.file_name().unwrap_or_default());
        std::fs::hard_link(program, &link).map_err(not_written)?;
        let mut linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
        let of_function = linked.entry(name.to_owned()).or_default();
        of_function.push_back(folder);
        if of_function.len() > 2 {
            of_function.pop_front();
        }
        Ok(link)
    }

    /// Removes what builds of this function have made, except for the last two, as with links: a day of saved sources
    /// would fill the disk.
    fn keep_two(&self, function: &Function, newest: &Path) {
        if !newest.starts_with(self.folder.path()) {
            return; // The function runs from its own folder.
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let of_function = made.entry(function.name.clone()).or_default();
        of_function.push_back(newest.to_owned());
        if of_function.len() > 2
            && let Some(old) = of_function.pop_front()
        {
            // What can't be removed now is removed with the whole folder.
            let _ = std::fs::remove_dir_all(old);
        }
    }

    /// A folder for the result of one build.
    fn new_folder(&self, function: &Function) -> Result<PathBuf, BuildError> {
        let number = self.builds.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.path().join(format!("{}-{number}", function.logical_id));
        match std::fs::create_dir(&folder) {
            Ok(()) => Ok(folder),
            Err(source) => Err(BuildError::NotWritten { path: folder, source }),
        }
    }
}

/// Runs a command that builds one function.
async fn run(
    tool: &str,
    remedy: &'static str,
    command: &mut Command,
    directory: &Path,
    function: &Function,
) -> Result<(), BuildError> {
    without_outer_cargo(command);
    command.current_dir(directory).stdin(std::process::Stdio::null()).kill_on_drop(true);
    // Standard output belongs to the stack, whose first line says that it is ready.
    command.stdout(io::stderr());
    let status = command.status().await.map_err(|error| BuildError::not_started(tool, remedy, directory, error))?;
    match status.success() {
        true => Ok(()),
        false => Err(BuildError::failed(tool, vec![function.name.clone()], directory, status)),
    }
}

/// `$XDG_CACHE_HOME/samovar`, or `~/.cache/samovar`. Without a home it is in the folder for temporary files.
fn cache_folder(variable: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The XDG specification says that a relative path is to be ignored.
    let xdg = set("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    let cache = xdg.or_else(|| Some(set("HOME")?.join(".cache"))).unwrap_or_else(std::env::temp_dir);
    cache.join("samovar")
}

/// Removes the variables that an outer cargo has set for the package that it runs.
fn without_outer_cargo(command: &mut Command) {
    for name in names_of_variables().into_iter().filter(|name| belongs_to_outer_cargo(name)) {
        command.env_remove(name);
    }
}

/// Whether cargo has set this variable for the package that it runs. Settings that a user makes for cargo
/// (`CARGO_HOME`, `CARGO_TARGET_DIR`, `CARGO_BUILD_…`, `CARGO_PROFILE_…`, `RUSTFLAGS`, `RUSTUP_…`) are not among them.
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

#[allow(clippy::disallowed_methods, reason = "the interface of build tools is the environment")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

#[allow(clippy::disallowed_methods, reason = "the interface of build tools is the environment")]
fn names_of_variables() -> Vec<String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
}

/// The names followed by the verb: `a does`, `a and b do`, `a, b and c do`. An empty list means that cargo failed
/// otherwise.
fn join_and(names: &[String]) -> String {
    match names {
        [] => "did".into(),
        [one] => format!("{one} does"),
        [rest @ .., last] => format!("{} and {last} do", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::function;
    use super::*;

    #[test]
    fn settings_of_the_user_are_kept_and_those_of_the_outer_package_are_not() {
        for kept in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_JOBS", "RUSTUP_TOOLCHAIN", "RUSTFLAGS", "PATH"] {
            assert!(!belongs_to_outer_cargo(kept), "{kept}");
        }
        for removed in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_BIN_EXE_samovar", "OUT_DIR"] {
            assert!(belongs_to_outer_cargo(removed), "{removed}");
        }
    }

    #[test]
    fn the_cache_is_where_the_user_has_caches() {
        let with = |set: &'static [(&str, &str)]| {
            cache_folder(&|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
        };
        assert_eq!(with(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), Path::new("/c/samovar"));
        assert_eq!(with(&[("XDG_CACHE_HOME", "c"), ("HOME", "/h")]), Path::new("/h/.cache/samovar"));
        assert_eq!(with(&[("XDG_CACHE_HOME", ""), ("HOME", "")]), std::env::temp_dir().join("samovar"));
    }

    #[test]
    fn the_way_is_the_templates_or_the_runtimes_or_that_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let of =
            |runtime: &str, build_method| Way::of(&Function { build_method, ..function("F", runtime, folder.path()) });
        assert_eq!(of("provided.al2023", BuildMethod::RustCargoLambda), Way::Cargo);
        assert_eq!(of("python3.13", BuildMethod::Makefile), Way::Makefile);
        assert_eq!(of("provided.al2023", BuildMethod::Go), Way::Go);
        assert_eq!(of("nodejs22.x", BuildMethod::None), Way::Node);
        assert_eq!(of("python3.13", BuildMethod::None), Way::Python);
        assert_eq!(of("provided.al2023", BuildMethod::None), Way::Program);
        std::fs::write(folder.path().join("go.mod"), "module f").unwrap();
        assert_eq!(of("provided.al2023", BuildMethod::None), Way::Go);
        std::fs::write(folder.path().join("bootstrap"), "").unwrap();
        assert_eq!(of("provided.al2023", BuildMethod::None), Way::Program);
    }
}
