//! Logs for a person at the terminal: short, on standard error, coloured where that is a terminal. `RUST_LOG` selects.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

pub(crate) fn init() {
    // s3s calls every request that it refuses an error; who sent it is told.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,samovar=info,s3s=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}
