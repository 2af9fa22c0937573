//! Simulates a loss of power: SIGKILL, and everything that was not synced to the disk is gone.
//! `tests/unsynced/unsynced.c` says how.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::preload::preload;
use crate::stack::{StackOptions, workspace};

/// A data directory on a disk that forgets everything that was not synced.
#[derive(Debug)]
pub struct Disk {
    dir: TempDir,
    losses: u32,
}

impl Disk {
    pub fn new() -> Self {
        // Beside the build, because a temporary directory may be in memory, where no inode has a birth.
        let target = workspace().join("target");
        std::fs::create_dir_all(&target).expect("a target directory");
        let dir = tempfile::Builder::new().prefix("disk-").tempdir_in(target).expect("a directory");
        preload("tests/unsynced/unsynced.c", dir.path());
        let disk = Self { dir, losses: 0 };
        disk.make_directories();
        disk
    }

    /// The data directory.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The environment of a process that writes to this disk.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
        [
            ("LD_PRELOAD", text(self.dir.path().join("unsynced.so"))),
            ("UNSYNCED_DIR", text(self.path())),
            ("UNSYNCED_DURABLE", text(self.durable())),
        ]
    }

    /// A stack with its data on this disk.
    pub fn stack(&self) -> StackOptions {
        let options = StackOptions::default().data_dir(&self.path());
        self.environment().iter().fold(options, |options, (name, value)| options.env(name, value))
    }

    /// The power fails and comes back. No process may use the disk.
    pub fn lose_power(&mut self) {
        std::fs::remove_dir_all(self.path()).expect("it is there");
        copy(&self.durable().join("tree"), &self.path());
        std::fs::remove_dir_all(self.durable()).expect("it is there");
        self.losses += 1;
        self.make_directories();
        // Everything that has survived is on the disk and stays there.
        let mut sync = Command::new("find");
        sync.arg(self.path()).args(["-exec", "sync", "{}", "+"]).envs(self.environment());
        assert!(sync.status().is_ok_and(|status| status.success()), "sync");
    }

    fn durable(&self) -> PathBuf {
        self.dir.path().join(format!("durable-{}", self.losses))
    }

    fn make_directories(&self) {
        for path in [self.path(), self.durable()] {
            std::fs::create_dir_all(path).expect("a directory");
        }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("--recursive").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "cp {}", from.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(disk: &Disk, script: &str) {
        let mut shell = Command::new("sh");
        shell.current_dir(disk.path()).arg("-ec").arg(script).envs(disk.environment());
        assert!(shell.status().is_ok_and(|status| status.success()), "{script}");
    }

    fn names(disk: &Disk) -> Vec<String> {
        let entries = std::fs::read_dir(disk.path()).expect("it is there");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("a name").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn data_that_was_synced_stays_and_other_data_is_lost() {
        let mut disk = Disk::new();
        // All of this is one process, because only that process knows what it has not synced.
        run(
            &disk,
            "dd if=/dev/zero of=kept bs=3 count=1 conv=fsync status=none; sync .; echo x > not-named; sync not-named",
        );
        run(&disk, "dd if=/dev/zero of=kept bs=7 count=1 conv=notrunc status=none");
        disk.lose_power();
        assert_eq!(names(&disk), ["kept"]);
        assert_eq!(std::fs::read(disk.path().join("kept")).expect("it is there"), [0, 0, 0]);
        // A second loss changes nothing.
        disk.lose_power();
        assert_eq!(names(&disk), ["kept"]);
    }
}
