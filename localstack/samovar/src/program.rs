//! The program, from its arguments to its exit code.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::options::{Command, Defaults, Options};
use crate::stack::Stack;
use crate::{check, logging};

/// Runs the whole program with these defaults: reads the command line, runs the stack until SIGINT or SIGTERM, stops
/// it. With the command `check` it reads templates instead.
///
/// Wrong arguments, `--help` and `--version` end the process at once.
pub fn main_with(defaults: Defaults) -> ExitCode {
    let options = Options::from_args(std::env::args_os(), &defaults).unwrap_or_else(|error| error.exit());
    if let Some(Command::Check(check)) = &options.command {
        return check::run(check, &mut std::io::stdout().lock());
    }
    logging::init();
    run_to_end(&options)
}

#[tokio::main]
async fn run_to_end(options: &Options) -> ExitCode {
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let mut signals =
        Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? };
    let stack = tokio::select! {
        stack = Stack::start(options) => stack?,
        () = signals.any() => return Ok(()),
    };
    println!("{}", stack.ready_line());
    signals.any().await;
    tracing::info!("Stopping after the running invocations have finished. Press Ctrl-C again to stop at once");
    stack.stop(signals.any()).await;
    Ok(())
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
