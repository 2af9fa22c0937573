//! `samovar`: runs the template in the current folder.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    samovar::main_with(samovar::Defaults::default())
}
