//! `cargo run`: Parley's stack on this machine.

use std::process::ExitCode;

use samovar::Defaults;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    samovar::main_with(Defaults { data_dir: ".parley", template: "infra/template.yaml" })
}
