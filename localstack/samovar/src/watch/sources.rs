//! The state of a function's sources: which files there are, and their times and sizes.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use super::epoch_ms;
use crate::build::Sources;

/// Folders that hold what tools make, and nothing that a person edits. Hidden folders are not looked at either.
const MADE_BY_TOOLS: [&str; 4] = ["__pycache__", "node_modules", "target", "venv"];

/// A folder with more files is not looked through to its end.
const MAX_FILES: usize = 20_000;

/// The times that a file system writes down may lag behind the clock by a tick of the kernel's timer.
pub(super) const LAG_MS: i64 = 10;

/// A file's time in epoch milliseconds and its size.
type Stamp = (i64, u64);

/// The files with their stamps.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    files: BTreeMap<PathBuf, Stamp>,
    /// Digests of the contents of files that have changed before.
    contents: BTreeMap<PathBuf, u64>,
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

impl Snapshot {
    /// If all files that differ from `now` have been written again with the content that they had, takes their stamps
    /// and returns true.
    pub(super) fn take_same_contents(&mut self, now: &Snapshot) -> bool {
        let same = now.files.len() == self.files.len()
            && now.changed_since(self).all(|(path, _)| {
                let known = self.files.contains_key(path).then(|| self.contents.get(path)).flatten();
                known.is_some() && known.copied() == digest(path)
            });
        if same {
            self.files.clone_from(&now.files);
        }
        same
    }

    /// The same state, with the contents of the files that are new or changed since `before`.
    pub(super) fn with_contents_changed_since(mut self, before: &Snapshot) -> Self {
        let changed = self.changed_since(before).filter_map(|(path, _)| Some((path.clone(), digest(path)?)));
        let changed: BTreeMap<_, _> = changed.collect();
        self.contents.clone_from(&before.contents);
        self.contents.extend(changed);
        self
    }

    fn changed_since(&self, before: &Snapshot) -> impl Iterator<Item = (&PathBuf, &Stamp)> {
        self.files.iter().filter(|(path, stamp)| before.files.get(*path) != Some(stamp))
    }

    /// The time of the newest file that is new or changed since `before`, in epoch milliseconds.
    pub(super) fn newest_since(&self, before: &Snapshot) -> Option<i64> {
        self.changed_since(before).map(|(_, (time_ms, _))| *time_ms).max()
    }

    /// Takes the files that only `later` has and that are older than a build which has read them. The others stay
    /// unknown, so they count as changed. Files that `later` does not have are no sources any more.
    pub(super) fn add_older_than(&mut self, later: Snapshot, began_ms: i64) {
        self.files.retain(|path, _| later.files.contains_key(path));
        for (path, stamp) in later.files {
            if stamp.0 < began_ms - LAG_MS {
                self.files.entry(path).or_insert(stamp);
            }
        }
    }

    fn add(&mut self, path: PathBuf) {
        if let Ok(metadata) = path.metadata()
            && let Ok(time) = metadata.modified()
        {
            self.files.insert(path, (epoch_ms(time), metadata.len()));
        }
    }
}

fn digest(path: &Path) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    std::fs::read(path).ok()?.hash(&mut hasher);
    Some(hasher.finish())
}

/// The present state. A file that does not exist is not in it. `all` adds the other files of packages of cargo.
pub(super) fn snapshot(code_dir: &Path, sources: &Sources, all: bool) -> Snapshot {
    let mut snapshot = Snapshot::default();
    match sources {
        Sources::DepInfo(path) => {
            let files = dep_info(&std::fs::read_to_string(path).unwrap_or_default(), code_dir);
            // The lists of packages are not among cargo's sources. Those of a workspace are in a folder above.
            let folders: BTreeSet<&Path> =
                files.iter().map(PathBuf::as_path).chain([code_dir]).flat_map(Path::ancestors).collect();
            for folder in folders {
                snapshot.add(folder.join("Cargo.toml"));
                snapshot.add(folder.join("Cargo.lock"));
            }
            if all {
                let packages = files.iter().map(PathBuf::as_path).chain([code_dir]).filter_map(package_of);
                packages.collect::<BTreeSet<_>>().into_iter().for_each(|folder| add_folder(&mut snapshot, folder));
            }
            files.into_iter().for_each(|file| snapshot.add(file));
        }
        Sources::Folder(folder) => add_folder(&mut snapshot, folder),
    }
    snapshot
}

/// The folder of the package that a file belongs to.
fn package_of(file: &Path) -> Option<&Path> {
    file.ancestors().find(|folder| folder.join("Cargo.toml").is_file())
}

fn add_folder(snapshot: &mut Snapshot, folder: &Path) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if !MADE_BY_TOOLS.iter().any(|made| name == *made) && !name.to_string_lossy().starts_with('.') {
                    folders.push(entry.path());
                }
            } else if snapshot.files.len() < MAX_FILES {
                snapshot.add(entry.path());
            }
        }
    }
}

/// The files in a file that cargo has written beside a program: `PROGRAM: FILE FILE…`, in which a space that belongs to
/// a name has a backslash before it.
fn dep_info(text: &str, code_dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in text.lines() {
        let Some((_, names)) = line.split_once(": ") else { continue };
        let mut name = String::new();
        let mut letters = names.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' if letters.peek() == Some(&' ') => name.extend(letters.next()),
                ' ' => files.push(std::mem::take(&mut name)),
                letter => name.push(letter),
            }
        }
        files.push(name);
    }
    files.into_iter().filter(|name| !name.is_empty()).map(|name| code_dir.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_list_of_sources_is_read() {
        let text = "/t/debug/a: /w/src/main.rs /w/my\\ file.rs relative.rs\n";
        let files = dep_info(text, Path::new("/w"));
        assert_eq!(files, ["/w/src/main.rs", "/w/my file.rs", "/w/relative.rs"].map(PathBuf::from));
        assert!(dep_info("", Path::new("/w")).is_empty());
    }

    #[test]
    fn a_folders_files_are_its_sources_without_those_of_tools() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["app.py", "lib/a.py", "node_modules/x/i.js", ".git/HEAD", "lib/__pycache__/a.pyc", ".env"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = snapshot(folder.path(), &Sources::Folder(folder.path().to_owned()), false);
        let found: Vec<_> = found.files.keys().map(|path| path.strip_prefix(folder.path()).unwrap()).collect();
        assert_eq!(found, [".env", "app.py", "lib/a.py"].map(Path::new));
    }

    #[test]
    fn a_source_that_a_build_has_added_counts_as_changed_if_it_is_younger_than_the_build() {
        let of = |files: &[(&str, i64)]| {
            let files = files.iter().map(|(path, time)| (PathBuf::from(path), (*time, 1))).collect();
            Snapshot { files, contents: BTreeMap::new() }
        };
        let mut built_from = of(&[("main", 5), ("gone", 1)]);
        let now = of(&[("main", 15), ("old", 9), ("young", 11)]);
        built_from.add_older_than(now.clone(), 10 + LAG_MS);
        assert_eq!(built_from, of(&[("main", 5), ("old", 9)]));
        assert_eq!(now.newest_since(&built_from), Some(15));
        assert_eq!(of(&[("main", 5), ("old", 9)]).newest_since(&built_from), None);
    }
}
