//! Runs once a minute: closes the sockets of ended leases, and queues messages again that have waited too long.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use shared::janitor::{Janitor, Report};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let janitor = shared::lambda::start().await.janitor()?;
    run(service_fn(|event| tidy_up(&janitor, event))).await
}

async fn tidy_up(janitor: &Janitor, _due: LambdaEvent<Value>) -> Result<(), Error> {
    let report = janitor.run().await?;
    if report != Report::default() {
        tracing::info!(?report, "Tidied up");
    }
    if report.failures > 0 {
        // The invocation fails, so that the function's error metric shows it.
        return Err(format!("The janitor failed to tidy up {} things; the log names each", report.failures).into());
    }
    Ok(())
}
