//! The project's template with a change, for tests of a deployment that went wrong.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::stack::workspace;

/// A changed copy of the template. It is deleted when this is dropped.
#[derive(Debug)]
pub struct Template {
    text: String,
    dir: TempDir,
}

impl Default for Template {
    /// The template without a change, except that its relative paths are made absolute.
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

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn path(&self) -> PathBuf {
        let path: &Path = self.dir.path();
        let path = path.join("template.yaml");
        std::fs::write(&path, &self.text).expect("written");
        path
    }
}
