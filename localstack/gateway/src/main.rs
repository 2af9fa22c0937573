//! `cargo run`: the whole stack of a template on this machine.

use std::process::ExitCode;

use clap::Parser as _;
use gateway::logging;
use gateway::options::Options;
use gateway::stack::Stack;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse(); // bad arguments: says so and exits with 2
    logging::init();
    match run(&options).await {
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
    tracing::info!("Stopping: running invocations may finish; once more stops at once");
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
