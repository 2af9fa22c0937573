//! The objects of the template's buckets on disk, at `{bucket}/{hash of the key}`.
//!
//! The path of an object contains the SHA-256 of its key, never the key itself. So keys with `..`, `//`, NUL or a
//! thousand characters, and keys that differ only in case, are keys like any other, and none leads out of its bucket's
//! folder. The list of keys is read at the start and kept in memory, in order. Files and list of a bucket change
//! together under its lock, so a condition ("only if it does not exist") is decided at the moment of the write.
//!
//! In a data directory, a write is answered when it is on the disk: first the file is synced, then its name. A loss of
//! power leaves the old object or the new one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use aws_lc_rs::digest::{SHA256, digest};
use tempfile::TempPath;

use super::notifications::{Changed, Notifications, Origin};
use super::object::{self, Head};
use super::upload::{Upload, hex};
use crate::clock::now_ms;
use samovar_template::Bucket as Spec;

/// The folder of unfinished uploads. No bucket's name begins with a dot.
const UPLOADS: &str = ".uploads";

#[derive(Debug)]
pub(super) struct Store {
    /// When the buckets were opened.
    pub(super) opened_ms: i64,
    uploads: PathBuf,
    buckets: BTreeMap<String, Arc<Bucket>>,
}

/// Objects in the order of their keys.
pub(super) type Heads<'a> = dyn Iterator<Item = &'a Arc<Head>> + 'a;

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) spec: Spec,
    folder: PathBuf,
    /// Whether writes are brought to the disk before they are answered.
    durable: bool,
    heads: Mutex<BTreeMap<String, Arc<Head>>>,
    /// The number of the last change.
    last_change: AtomicU64,
    notifications: Arc<Notifications>,
}

impl Store {
    /// Creates the buckets, finds their objects, and removes the unfinished uploads of a killed process.
    pub(super) fn open(root: &Path, specs: &[Spec], durable: bool, notifications: Notifications) -> Result<Self> {
        let uploads = root.join(UPLOADS);
        let emptied = match std::fs::remove_dir_all(&uploads) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => std::fs::create_dir_all(&uploads),
        };
        emptied.with_context(|| format!("{} could not be emptied", uploads.display()))?;
        let notifications = Arc::new(notifications);
        let mut buckets = BTreeMap::new();
        for spec in specs {
            let bucket = Bucket::open(root, spec, durable, Arc::clone(&notifications));
            let bucket = bucket.with_context(|| format!("The bucket {} could not be opened", spec.name))?;
            buckets.insert(spec.name.clone(), Arc::new(bucket));
        }
        if durable {
            // A bucket whose own name is lost with the power would take its objects along.
            for folder in [root.parent(), Some(root)].into_iter().flatten() {
                let synced = File::open(folder).and_then(|folder| folder.sync_all());
                synced.with_context(|| format!("{} could not be synced", folder.display()))?;
            }
        }
        Ok(Self { opened_ms: now_ms(), uploads, buckets })
    }

    pub(super) fn bucket(&self, name: &str) -> Option<&Arc<Bucket>> {
        self.buckets.get(name)
    }

    pub(super) fn buckets(&self) -> impl Iterator<Item = &Arc<Bucket>> {
        self.buckets.values()
    }

    pub(super) async fn upload(&self, checksums: &[&str]) -> io::Result<Upload> {
        Upload::new(&self.uploads, checksums).await
    }
}

impl Bucket {
    fn open(root: &Path, spec: &Spec, durable: bool, notifications: Arc<Notifications>) -> io::Result<Self> {
        let folder = root.join(&spec.name);
        std::fs::create_dir_all(&folder)?;
        let mut heads = BTreeMap::new();
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            match object::read(&mut File::open(&path)?)? {
                Some(head) => drop(heads.insert(head.key.clone(), Arc::new(head))),
                None => tracing::warn!("{} is not an object and is ignored", path.display()),
            }
        }
        let (heads, last_change) = (Mutex::new(heads), AtomicU64::default());
        Ok(Self { spec: spec.clone(), folder, durable, heads, last_change, notifications })
    }

    /// Stores the file as the object of its key and replaces the previous one, if `condition` holds for that one.
    /// Returns it with the number of the change.
    pub(super) async fn put<E: From<io::Error> + Send + 'static>(
        self: &Arc<Self>,
        file: TempPath,
        head: Head,
        condition: impl FnOnce(Option<&Head>) -> Result<(), E> + Send + 'static,
    ) -> Result<(Arc<Head>, u64), E> {
        self.blocking(move |bucket| {
            let head = Arc::new(head);
            if bucket.durable {
                File::open(&file)?.sync_all()?;
            }
            let change = {
                let mut heads = bucket.heads();
                condition(heads.get(&head.key).map(Arc::as_ref))?;
                file.persist(bucket.path(&head.key)).map_err(|error| error.error)?;
                heads.insert(head.key.clone(), Arc::clone(&head));
                bucket.next_change()
            };
            bucket.sync_names()?;
            Ok((head, change))
        })
        .await
    }

    /// Opens an object, at the beginning of its body.
    pub(super) async fn get(self: &Arc<Self>, key: &str) -> io::Result<Option<(File, Head)>> {
        let path = self.path(key);
        self.blocking(move |_| match File::open(path) {
            Ok(mut file) => Ok(object::read(&mut file)?.map(|head| (file, head))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    /// Deletes an object if it exists and `condition` holds for it. Returns the number of
    /// the change if it was deleted.
    pub(super) async fn delete(
        self: &Arc<Self>,
        key: &str,
        condition: impl FnOnce(&Head) -> bool + Send + 'static,
    ) -> io::Result<Option<u64>> {
        let key = key.to_owned();
        self.blocking(move |bucket| {
            let change = {
                let mut heads = bucket.heads();
                if !heads.get(&key).is_some_and(|head| condition(head)) {
                    return Ok(None);
                }
                match std::fs::remove_file(bucket.path(&key)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => heads.remove(&key),
                };
                bucket.next_change()
            };
            bucket.sync_names()?;
            Ok(Some(change))
        })
        .await
    }

    /// Visits the objects whose keys have the prefix, in the order of their keys, from `from` on.
    pub(super) fn list<T>(&self, prefix: &str, from: Bound<&str>, visit: impl FnOnce(&mut Heads<'_>) -> T) -> T {
        let from = match from {
            Bound::Excluded(key) | Bound::Included(key) if key >= prefix => from,
            _ => Bound::Included(prefix),
        };
        let heads = self.heads();
        let of_prefix = heads.range::<str, _>((from, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(prefix));
        visit(&mut of_prefix.map(|(_, head)| head))
    }

    /// Tells what has happened to an object to all that want to know it.
    pub(super) async fn notify(&self, changed: &Changed, origin: &Origin) -> io::Result<()> {
        let sent = self.notifications.send(&self.spec.name, changed, origin).await;
        sent.map_err(|error| io::Error::other(format!("An event could not be sent: {error:#}")))
    }

    /// The number of a change that has just been made under the lock. It is higher than all before, also those before a
    /// restart.
    fn next_change(&self) -> u64 {
        let now = u64::try_from(now_ms()).unwrap_or_default() << 16;
        let next = |last: u64| now.max(last + 1);
        let last = self.last_change.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        last.map_or_else(next, next)
    }

    /// Brings the names of the objects to the disk. This happens outside the lock, because it takes milliseconds.
    fn sync_names(&self) -> io::Result<()> {
        if self.durable { File::open(&self.folder)?.sync_all() } else { Ok(()) }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(hex(digest(&SHA256, key.as_bytes()).as_ref()))
    }

    fn heads(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Head>>> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs disk operations off the async threads, because they block.
    async fn blocking<T: Send + 'static, E: From<io::Error> + Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let bucket = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&bucket)).await;
        done.unwrap_or_else(|failed| Err(io::Error::other(failed).into()))
    }
}
