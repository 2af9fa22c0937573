//! Builds a function with its Makefile, as `sam build` does: the target `build-LOGICALID` puts everything that the
//! function needs into `$ARTIFACTS_DIR`.

use std::path::PathBuf;

use samovar_template::Function;
use tokio::process::Command;

use super::{BuildError, run};

/// Builds into this folder, which is the function's task root then.
pub(super) async fn build(function: &Function, artifacts: PathBuf) -> Result<PathBuf, BuildError> {
    let directory = &function.code_dir;
    if directory.is_dir() && !["GNUmakefile", "makefile", "Makefile"].iter().any(|name| directory.join(name).is_file())
    {
        let problem = format!("its BuildMethod is makefile, and {} has no Makefile", directory.display());
        return Err(BuildError::Unusable { function: function.name.clone(), problem });
    }
    let target = format!("build-{}", function.logical_id);
    eprintln!("    Building {} in {} (make {target})", function.name, directory.display());
    let mut command = Command::new("make");
    command.arg(&target).env("ARTIFACTS_DIR", &artifacts);
    run("make", "install GNU make", &mut command, directory, function).await?;
    Ok(artifacts)
}

#[cfg(test)]
mod tests {
    use super::super::testing::function;
    use super::*;

    #[tokio::test]
    async fn the_target_of_the_function_fills_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (code, artifacts) = (folder.path().join("code"), folder.path().join("artifacts"));
        std::fs::create_dir_all(&code).unwrap();
        std::fs::create_dir_all(&artifacts).unwrap();
        let function = function("Hello", "provided.al2023", &code);
        let none = build(&function, artifacts.clone()).await.unwrap_err().to_string();
        assert!(none.ends_with("code has no Makefile"), "{none}");

        std::fs::write(code.join("Makefile"), "build-Hello:\n\tcp Makefile $(ARTIFACTS_DIR)/bootstrap\n").unwrap();
        assert_eq!(build(&function, artifacts.clone()).await.unwrap(), artifacts);
        assert!(artifacts.join("bootstrap").is_file());

        std::fs::write(code.join("Makefile"), "build-Other:\n").unwrap();
        let failed = build(&function, artifacts).await.unwrap_err().to_string();
        assert!(failed.starts_with("Function Hello does not build in ") && failed.contains("(make: "), "{failed}");
    }

    #[tokio::test]
    async fn a_folder_that_does_not_exist_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let function = function("Hello", "provided.al2023", &folder.path().join("none"));
        let error = build(&function, folder.path().to_owned()).await.unwrap_err().to_string();
        assert!(error.contains("none: check the CodeUri in the template"), "{error}");
    }
}
