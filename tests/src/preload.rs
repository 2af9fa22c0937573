//! C libraries for LD_PRELOAD, which give a process another view of its machine. They are compiled with the compiler
//! that links Rust programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stack::workspace;

/// Compiles `source`, which is a path in the workspace, into `directory`.
pub fn preload(source: &str, directory: &Path) -> PathBuf {
    let source = workspace().join(source);
    let library = directory.join(source.with_extension("so").file_name().expect("a file's name"));
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
    assert!(compiler.status().is_ok_and(|status| status.success()), "{} does not compile", source.display());
    library
}
