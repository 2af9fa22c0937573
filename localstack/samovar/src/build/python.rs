//! A function in Python. It runs from its own folder, with AWS's runtime interface client (`awslambdaric`).
//!
//! The client, `boto3` (which Lambda has for every function) and the function's `requirements.txt` are installed with
//! pip into a virtual environment in the user's cache. Its name is a digest of all that, with the files of packages
//! that are folders of the function (`./package`). So functions with the same requirements share one, a changed file
//! makes another, and the function's folder is left as it is: `sam build` would copy sources and packages into one
//! folder, and then a breakpoint or a trace would name a copy.

use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use samovar_host::{Code, Debug};
use samovar_template::{BuildMethod, Function};
use tokio::process::Command;

use super::{BuildError, cache, run};

/// What Lambda's own runtime has.
const RUNTIME: [&str; 2] = ["awslambdaric>=3,<5", "boto3"];

/// The port that editors expect debugpy at.
pub(super) const DEBUG_PORT: u16 = 5678;
const DEBUGGER: &str = "debugpy>=1.8,<2";

const REMEDY: &str = "install Python 3 with its module venv";
/// Files of the environment. Python runs the lines of a `.pth` when it starts.
const FILES: [(&str, &str); 2] =
    [("samovar_names.py", include_str!("samovar_names.py")), ("samovar_names.pth", "import samovar_names\n")];

pub(super) async fn code(
    function: &Function,
    task_root: PathBuf,
    cache: &Path,
    debug: Option<Debug>,
) -> Result<Code, BuildError> {
    let (python, version) = interpreter(function).await?;
    let requirements = requirements(function)?;
    let packages: Vec<_> = RUNTIME.into_iter().chain(debug.map(|_| DEBUGGER)).collect();
    let own = FILES.map(|(_, text)| text).concat();
    let name = cache::name_of(&[version.as_bytes(), &requirements, packages.concat().as_bytes(), own.as_bytes()]);
    let shared = cache.join("python");
    let make = async |folder: PathBuf| install(function, &python, &packages, &requirements, &folder).await;
    let folder = cache::folder(&shared, &format!("{version}-{name}"), make).await?;
    let mut args: Vec<String> = Vec::new();
    if let Some(Debug::Listening { port }) = debug {
        let address = format!("127.0.0.1:{port}");
        args.extend(["-m", "debugpy", "--listen", &address, "--wait-for-client"].map(str::to_owned));
    }
    args.extend(["-m".to_owned(), "awslambdaric".to_owned(), function.handler.clone()]);
    let environment = [
        ("PYTHONPATH", folder.join("runtime")),
        // On Lambda the function's folder can't be written. Here it could, and compiled files would be left in it.
        ("PYTHONPYCACHEPREFIX", shared.join("compiled")),
        // Otherwise the debugger warns that it can't stop in Python's own modules.
        ("PYDEVD_DISABLE_FILE_VALIDATION", "1".into()),
    ];
    Ok(Code {
        program: folder.join("bin/python"),
        args,
        task_root,
        runtime_dir: folder.join("runtime"),
        environment: environment.map(|(name, value)| (name.to_owned(), value.to_string_lossy().into_owned())).into(),
    })
}

/// The interpreter of the template's version, or another one of this machine, and its version.
async fn interpreter(function: &Function) -> Result<(String, String), BuildError> {
    let wanted = function.runtime.trim_start_matches("python");
    for python in [format!("python{wanted}"), "python3".to_owned()] {
        let mut command = Command::new(&python);
        command.args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).stdin(Stdio::null());
        let Ok(output) = command.stderr(Stdio::null()).kill_on_drop(true).output().await else { continue };
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() && !version.is_empty() {
            if version != wanted {
                tracing::warn!("{}: Python {wanted} is not on this machine, so {version} runs it", function.name);
            }
            return Ok((python, version));
        }
    }
    Err(BuildError::NoTool { tool: "python3".to_owned(), remedy: REMEDY })
}

/// The function's `requirements.txt`, followed by what it names on this machine. A Makefile has installed them already.
fn requirements(function: &Function) -> Result<Vec<u8>, BuildError> {
    let path = function.code_dir.join("requirements.txt");
    if function.build_method == BuildMethod::Makefile || !path.is_file() {
        return Ok(Vec::new());
    }
    let unusable = |error| {
        let problem = format!("{} could not be read: {error}", path.display());
        BuildError::Unusable { function: function.name.clone(), problem }
    };
    let mut all = std::fs::read(&path).map_err(unusable)?;
    for named in paths_in(&String::from_utf8_lossy(&all)) {
        append(&function.code_dir.join(named), &mut all).map_err(unusable)?;
    }
    Ok(all)
}

/// The paths in a `requirements.txt`, as in `./package`, `-e ../package[extra]` and `-r base.txt`. Some may be
/// addresses.
fn paths_in(requirements: &str) -> Vec<String> {
    const OPTIONS: [&str; 6] = ["-r", "--requirement", "-c", "--constraint", "-e", "--editable"];
    let path = |line: &str| {
        let line = line.split(" #").next().unwrap_or_default().trim();
        let of_option = OPTIONS.iter().find_map(|option| line.strip_prefix(option)?.strip_prefix([' ', '=']));
        let path = of_option.or_else(|| line.starts_with(['.', '/']).then_some(line))?;
        Some(path.split([';', '[']).next().unwrap_or_default().trim().to_owned())
    };
    requirements.lines().filter_map(path).collect()
}

/// Appends the name and the content of a file, or of all files in a folder, without what tools leave there. Nothing is
/// appended if there is no such file.
fn append(path: &Path, all: &mut Vec<u8>) -> io::Result<()> {
    if path.is_file() {
        all.extend_from_slice(path.as_os_str().as_encoded_bytes());
        all.extend(std::fs::read(path)?);
    } else if path.is_dir() {
        let mut inside = std::fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        inside.sort_by_key(DirEntry::file_name);
        for entry in inside {
            let name = entry.file_name().to_string_lossy().into_owned();
            let of_tools = ["build", "dist", "__pycache__", "venv"].contains(&name.as_str())
                || name.starts_with('.')
                || name.ends_with(".egg-info");
            // It may lead around in a circle.
            let is_link_to_folder = entry.file_type()?.is_symlink() && entry.path().is_dir();
            if !of_tools && !is_link_to_folder {
                append(&entry.path(), all)?;
            }
        }
    }
    Ok(())
}

async fn install(
    function: &Function,
    python: &str,
    packages: &[&str],
    requirements: &[u8],
    folder: &Path,
) -> Result<(), BuildError> {
    let directory = &function.code_dir;
    eprintln!("    Installing the Python packages of {}, once", function.name);
    let mut venv = Command::new(python);
    venv.args(["-m", "venv"]).arg(folder);
    run(python, REMEDY, &mut venv, directory, function).await?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
    if !requirements.is_empty() {
        pip.args(["-r", "requirements.txt"]);
    }
    run("pip", REMEDY, &mut pip, directory, function).await?;
    // LAMBDA_RUNTIME_DIR, under a name without the version in it.
    let mut paths = Command::new(folder.join("bin/python"));
    let link = "import os, sys, sysconfig; os.symlink(sysconfig.get_path('purelib'), sys.argv[1])";
    paths.args(["-c", link]).arg(folder.join("runtime"));
    run("python", REMEDY, &mut paths, directory, function).await?;
    for (name, text) in FILES {
        let path = folder.join("runtime").join(name);
        std::fs::write(&path, text).map_err(|source| BuildError::NotWritten { path, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::function;
    use super::*;

    #[tokio::test]
    async fn requirements_are_those_of_the_folder_unless_a_makefile_installs_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut function = function("F", "python3.13", folder.path());
        assert!(requirements(&function).unwrap().is_empty());
        std::fs::write(folder.path().join("requirements.txt"), "requests\n").unwrap();
        assert_eq!(requirements(&function).unwrap(), b"requests\n");
        function.build_method = BuildMethod::Makefile;
        assert!(requirements(&function).unwrap().is_empty());
    }

    #[test]
    fn a_change_in_what_the_requirements_name_here_is_a_change_of_the_requirements() {
        let folder = tempfile::tempdir().unwrap();
        let function = function("F", "python3.13", folder.path());
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let named =
            "requests\n./package[extra] ; python_version > '3'\n-r base.txt  # shared\n-e git+https://a.example/b\n";
        write("requirements.txt", named);
        assert_eq!(paths_in(named), ["./package", "base.txt", "git+https://a.example/b"]);
        let mut seen = vec![requirements(&function).unwrap()];
        for (name, is_part) in [
            ("package/greeting.py", true),
            ("package/inside/more.py", true),
            ("base.txt", true),
            ("package/build/greeting.py", false),
            ("package/greeting.egg-info/PKG-INFO", false),
            ("other.py", false),
        ] {
            write(name, "1");
            let now = requirements(&function).unwrap();
            assert_eq!(!seen.contains(&now), is_part, "{name}");
            seen.push(now);
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), folder.path().join("package/around")).unwrap();
        assert!(seen.contains(&requirements(&function).unwrap()));
    }
}
