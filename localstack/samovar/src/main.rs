//! `samovar`: the stack of the template in this folder.

use std::process::ExitCode;

fn main() -> ExitCode {
    samovar::main_with(samovar::Defaults::default())
}
