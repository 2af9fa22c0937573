//! `samovar`: runs the template in the current folder.

use std::process::ExitCode;

fn main() -> ExitCode {
    samovar::main_with(samovar::Defaults::default())
}
