//! The project's template with something changed in it: a deployment that went wrong.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::stack::workspace;

/// A changed copy, for as long as it is kept.
#[derive(Debug)]
pub struct Template {
    text: String,
    dir: TempDir,
}

impl Default for Template {
    /// As it is, but for paths that are relative to its folder.
    fn default() -> Self {
        let text = std::fs::read_to_string(workspace().join("infra/template.yaml")).expect("the template");
        let root = workspace().display().to_string();
        let text = text.replace("CodeUri: ..\n", &format!("CodeUri: {root}\n"));
        let text = text.replace(": ../web", &format!(": {root}/web"));
        Self { text, dir: tempfile::tempdir().expect("a directory") }
    }
}

impl Template {
    /// Replaces the first `old` below the resource `id`.
    pub fn with(mut self, id: &str, old: &str, new: &str) -> Self {
        let start = self.text.find(&format!("\n  {id}:\n")).unwrap_or_else(|| panic!("no {id} in the template"));
        let at = self.text[start..].find(old).unwrap_or_else(|| panic!("no {old} below {id}"));
        self.text.replace_range(start + at..start + at + old.len(), new);
        self
    }

    pub fn path(&self) -> PathBuf {
        let path: &Path = self.dir.path();
        let path = path.join("template.yaml");
        std::fs::write(&path, &self.text).expect("written");
        path
    }
}
