//! The data directory: made if it is not there, and used by one stack at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    /// Released by the system when the process ends, however it ends.
    _lock: File,
}

impl DataDir {
    pub(super) fn open(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path)
            .with_context(|| format!("The data directory {} can't be made", path.display()))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .with_context(|| format!("{} can't be opened", lock_path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!(
                "The data directory {} is in use by another stack; stop it, or choose another with --data-dir",
                path.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("{} can't be locked", lock_path.display()))
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::DataDir;

    #[test]
    fn a_data_directory_has_one_user_at_a_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("new");
        let first = DataDir::open(&path).expect("free");
        let error = DataDir::open(&path).expect_err("in use");
        assert!(error.to_string().contains("--data-dir"), "{error}");
        drop(first);
        DataDir::open(&path).expect("free again");
    }
}
