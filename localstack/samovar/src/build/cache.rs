//! Folders that several stacks share, such as the runtimes of languages. Each is made once.
//!
//! A folder counts once its making has succeeded. A lock lets one process make it while others wait. So what an
//! interrupted process leaves behind is made anew, and a folder that counts is never changed.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::BuildError;

/// The mark of a folder that is complete.
const COMPLETE: &str = ".complete";
/// The time between two looks at a lock that another process has.
const LOOK: Duration = Duration::from_millis(100);

/// Returns the folder with this name in the cache. If it is not there, `make` fills it first.
pub(super) async fn folder<F>(cache: &Path, name: &str, make: impl FnOnce(PathBuf) -> F) -> Result<PathBuf, BuildError>
where
    F: Future<Output = Result<(), BuildError>>,
{
    let folder = cache.join(name);
    if folder.join(COMPLETE).is_file() {
        return Ok(folder);
    }
    let not_written = |source| BuildError::NotWritten { path: folder.clone(), source };
    std::fs::create_dir_all(cache).map_err(not_written)?;
    let lock = File::create(cache.join(format!("{name}.lock"))).map_err(not_written)?;
    // Another process may take minutes. A thread that waits for it would hold up the end of this process.
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOOK).await,
            Err(TryLockError::Error(source)) => return Err(not_written(source)),
        }
    }
    if folder.join(COMPLETE).is_file() {
        return Ok(folder);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(not_written)?;
    }
    std::fs::create_dir(&folder).map_err(not_written)?;
    make(folder.clone()).await?;
    File::create(folder.join(COMPLETE)).map_err(not_written)?;
    Ok(folder)
}

/// A name for what is made of these parts.
pub(super) fn name_of(parts: &[&[u8]]) -> String {
    let mut whole = Vec::new();
    for part in parts {
        whole.extend_from_slice(&part.len().to_le_bytes());
        whole.extend_from_slice(part);
    }
    digest(&SHA256, &whole).as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_folder_is_made_once_also_by_many_at_once_and_again_if_its_making_failed() {
        let cache = tempfile::tempdir().unwrap();
        let made = AtomicU32::new(0);
        let fails = folder(cache.path(), "a", async |folder: PathBuf| {
            std::fs::write(folder.join("half"), "").unwrap();
            Err(BuildError::Unusable { function: "F".to_owned(), problem: "no".to_owned() })
        });
        assert!(fails.await.is_err());
        let make = async |folder: PathBuf| {
            assert!(!folder.join("half").exists(), "it begins with an empty folder");
            made.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(())
        };
        let all = futures_util::future::join_all((0..8).map(|_| folder(cache.path(), "a", make))).await;
        assert!(all.into_iter().all(|folder| folder.unwrap() == cache.path().join("a")));
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_cache_that_cannot_be_written_is_told() {
        let cache = tempfile::tempdir().unwrap();
        let file = cache.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = folder(&file, "a", async |_| Ok(())).await.unwrap_err().to_string();
        assert!(error.contains("file/a could not be written: "), "{error}");
    }

    #[test]
    fn different_parts_have_different_names() {
        assert_eq!(name_of(&[b"a", b"b"]), name_of(&[b"a", b"b"]));
        assert_ne!(name_of(&[b"ab", b""]), name_of(&[b"a", b"b"]));
    }
}
