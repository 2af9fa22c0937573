//! Once a minute: closes the sockets of ended leases and drives messages again that have waited too long.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use shared::answer::Finisher;
use shared::config::environment;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let aws = shared::route::init().await;
    let finisher = Finisher::from_environment(&aws, &environment)?;
    run(service_fn(|event| tidy_up(&finisher, event))).await
}

async fn tidy_up(finisher: &Finisher, _due: LambdaEvent<Value>) -> Result<(), Error> {
    let report = shared::janitor::run(finisher).await?;
    if report != shared::janitor::Report::default() {
        tracing::info!(?report, "Tidied up");
    }
    if report.failures > 0 {
        // Seen by whoever watches the function's errors.
        return Err(format!("{} things were not tidied up", report.failures).into());
    }
    Ok(())
}
