//! The folder of a function's code, before anything is built in it.

use std::path::Path;

use samovar_template::{Code, Function};

use super::BuildError;

/// # Errors
/// The function's code is to be in a folder that is not there.
pub(super) fn check(function: &Function) -> Result<(), BuildError> {
    let folder = &function.code_dir;
    if function.code != Code::Folder || folder.is_dir() {
        return Ok(());
    }
    let problem = if folder.exists() {
        format!("its CodeUri {} is a file: unpack it, and give the folder", folder.display())
    } else {
        let similar = similar(folder).map(|name| format!(" (there is {name})")).unwrap_or_default();
        format!("there is no folder {}{similar}: check its CodeUri in the template", folder.display())
    };
    Err(BuildError::Unusable { function: function.name.clone(), problem })
}

/// The name that differs only in case, beside the wanted one. On the machines of some authors these are the same.
fn similar(wanted: &Path) -> Option<String> {
    let name = wanted.file_name()?.to_string_lossy().to_lowercase();
    let mut names = wanted.parent()?.read_dir().ok()?.flatten().map(|entry| entry.file_name());
    names.find(|beside| beside.to_string_lossy().to_lowercase() == name).map(|name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::testing::function;
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_told_with_the_one_that_may_be_meant() {
        let here = tempfile::tempdir().unwrap();
        std::fs::create_dir(here.path().join("onconnect")).unwrap();
        std::fs::write(here.path().join("code.zip"), "").unwrap();
        let problem = |name: &str| match check(&function("F", "python3.13", &here.path().join(name))) {
            Ok(()) => String::new(),
            Err(error) => error.to_string().replace(&format!("{}/", here.path().display()), ""),
        };
        assert_eq!(problem("onconnect"), "");
        let told = |problem: &str| format!("Function F can't run: {problem}");
        let missing = "there is no folder onConnect (there is onconnect): check its CodeUri in the template";
        assert_eq!(problem("onConnect"), told(missing));
        assert_eq!(problem("src"), told("there is no folder src: check its CodeUri in the template"));
        assert_eq!(problem("code.zip"), told("its CodeUri code.zip is a file: unpack it, and give the folder"));
        let inline = Function { code: Code::Inline(String::new()), ..function("F", "python3.13", Path::new("none")) };
        check(&inline).unwrap();
    }
}
