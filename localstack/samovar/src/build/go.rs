//! Builds a function in Go: the package in its folder becomes the program `bootstrap`.

use std::path::PathBuf;

use samovar_template::Function;
use tokio::process::Command;

use super::{BuildError, run};

/// Builds into this folder, which is the function's task root then.
pub(super) async fn build(function: &Function, artifacts: PathBuf) -> Result<PathBuf, BuildError> {
    let directory = &function.code_dir;
    eprintln!("    Building {} in {} (go)", function.name, directory.display());
    let mut command = Command::new("go");
    // The tag leaves out what only the former runtime go1.x needs, as AWS recommends for provided.*.
    command.args(["build", "-tags", "lambda.norpc", "-o"]).arg(artifacts.join("bootstrap")).arg(".");
    run("go", "install Go, which builds this function", &mut command, directory, function).await?;
    Ok(artifacts)
}
