//! A function whose program is in its folder: `bootstrap`, or for the runtime `go1.x` the one that the handler names.
//!
//! A program that uses AWS's package for Go speaks the Runtime API wherever its address is set, so that of `go1.x`
//! does, too.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use samovar_host::Code;
use samovar_template::Function;

use super::BuildError;

/// The runtime whose program has the name of the handler.
const GO: &str = "go1.x";

/// Whether a function of the runtime `go1.x` is a program already: its folder has it, and no sources.
pub(super) fn is_built(function: &Function) -> bool {
    let folder = &function.code_dir;
    let has_sources = std::fs::read_dir(folder).is_ok_and(|mut files| {
        files.any(|file| file.is_ok_and(|file| file.path().extension().is_some_and(|it| it == "go")))
    });
    function.runtime == GO && !has_sources && folder.join(&function.handler).is_file()
}

/// The name of the program in this folder. A program of `go1.x` that samovar has built is called `bootstrap`, too.
fn name<'a>(function: &'a Function, folder: &Path) -> &'a str {
    let is_handler = function.runtime == GO && folder.join(&function.handler).is_file();
    if is_handler { &function.handler } else { "bootstrap" }
}

/// Checks the program before it is started for the first time, because a failed start says less about the reason.
pub(super) fn code(function: &Function, task_root: &Path) -> Result<Code, BuildError> {
    let unusable = |problem: String| BuildError::Unusable { function: function.name.clone(), problem };
    if !task_root.is_dir() {
        let problem = format!("there is no folder {}: check the CodeUri in the template", task_root.display());
        return Err(unusable(problem));
    }
    let program = task_root.join(name(function, task_root));
    let shown = program.display();
    let Ok(metadata) = program.metadata().map(|metadata| metadata.permissions().mode()) else {
        return Err(unusable(format!(
            "there is no {shown}. Build it, or say in the template's Metadata how it is built: BuildMethod \
             rust-cargolambda, makefile or go1.x"
        )));
    };
    if metadata & 0o111 == 0 {
        return Err(unusable(format!("{shown} is not executable: chmod +x {shown}")));
    }
    let mut head = Vec::new();
    let read = std::fs::File::open(&program).and_then(|file| file.take(20).read_to_end(&mut head));
    if read.is_ok()
        && let Some(machine) = machine(&head)
        && machine != std::env::consts::ARCH
    {
        let this = std::env::consts::ARCH;
        return Err(unusable(format!(
            "{shown} is built for {machine}, and this machine is {this}: build it for {this}"
        )));
    }
    Ok(Code::of_program(program))
}

/// The processor that an ELF program is built for, by Rust's name. `None` if it is no such program, or another
/// processor.
fn machine(head: &[u8]) -> Option<&'static str> {
    let [0x7f, b'E', b'L', b'F', _, data, ..] = head else { return None };
    let machine = [*head.get(18)?, *head.get(19)?];
    match if *data == 2 { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) } {
        0x3e => Some("x86_64"),
        0xb7 => Some("aarch64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::function;
    use super::*;

    fn refused(folder: &Path) -> String {
        code(&function("Hello", "provided.al2023", folder), folder).unwrap_err().to_string()
    }

    #[test]
    fn a_program_must_be_there_be_executable_and_be_for_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("bootstrap");
        let no_folder = refused(&folder.path().join("none"));
        assert!(no_folder.ends_with("none: check the CodeUri in the template"), "{no_folder}");
        let none = refused(folder.path());
        assert!(none.starts_with("Function Hello can't run: there is no ") && none.contains("makefile"), "{none}");

        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        assert!(refused(folder.path()).contains("is not executable: chmod +x /"));
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let found = code(&function("Hello", "provided.al2023", folder.path()), folder.path()).unwrap();
        assert_eq!((found.program, found.task_root), (program.clone(), folder.path().to_owned()));

        let (other, number) = if cfg!(target_arch = "x86_64") { ("aarch64", 0xb7) } else { ("x86_64", 0x3e) };
        let mut elf = [0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = number;
        std::fs::write(&program, elf).unwrap();
        let refused = refused(folder.path());
        assert!(refused.contains(&format!("bootstrap is built for {other}, and this machine is")), "{refused}");
    }

    #[test]
    fn a_program_of_the_runtime_for_go_has_the_name_of_the_handler() {
        let folder = tempfile::tempdir().unwrap();
        let mut function = function("Hello", "go1.x", folder.path());
        function.handler = "main".to_owned();
        assert!(!is_built(&function));
        for name in ["main", "bootstrap"] {
            std::fs::write(folder.path().join(name), "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(folder.path().join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert!(is_built(&function));
        assert_eq!(code(&function, folder.path()).unwrap().program, folder.path().join("main"));
        std::fs::write(folder.path().join("main.go"), "package main\n").unwrap();
        assert!(!is_built(&function), "it is built from its sources");
        function.handler = "other".to_owned();
        assert_eq!(code(&function, folder.path()).unwrap().program, folder.path().join("bootstrap"));
        function.runtime = "provided.al2023".to_owned();
        function.handler = "main".to_owned();
        assert_eq!(code(&function, folder.path()).unwrap().program, folder.path().join("bootstrap"));
    }

    #[test]
    fn the_processor_is_read_from_programs_alone() {
        assert_eq!(machine(b"#!/bin/sh and so on, long enough"), None);
        assert_eq!(machine(b"\x7fELF\x02\x01"), None, "cut off");
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        if cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
            assert_eq!(machine(&own[..20]), Some(std::env::consts::ARCH));
        }
    }
}
