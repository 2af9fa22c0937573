//! A short text that changes when a site has to be built again: a hash over names and contents of its sources, and its
//! command.
//!
//! Times are not part of it: a clone or a checkout gives new times to old contents, and a moved file leaves no time
//! behind.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use samovar_template::SiteBuild;

/// Packages are determined by the lock file, and are too many to read.
const NOT_READ: &str = "node_modules";

/// `made` is the built directory. It is not a source, even if it is inside one.
pub(super) fn of(build: &SiteBuild, made: &Path) -> Result<String, (PathBuf, io::Error)> {
    let mut digest = Context::new(&SHA256);
    add(&mut digest, build.run.as_bytes());
    let made = made.canonicalize().ok();
    for source in &build.sources {
        add_path(&mut digest, &build.directory, Path::new(source), made.as_deref())?;
    }
    Ok(digest.finish().as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// The sources that do not exist.
pub(super) fn missing(build: &SiteBuild) -> Vec<&str> {
    build.sources.iter().map(String::as_str).filter(|source| !build.directory.join(source).exists()).collect()
}

/// Adds a path. `name` is relative to the folder of the build, because the place of that folder does not matter.
fn add_path(digest: &mut Context, folder: &Path, name: &Path, made: Option<&Path>) -> Result<(), (PathBuf, io::Error)> {
    let path = folder.join(name);
    let failed = |error| (path.clone(), error);
    if made.is_some() && path.canonicalize().ok().as_deref() == made {
        return Ok(());
    }
    add(digest, name.as_os_str().as_encoded_bytes());
    // Links to folders are not followed, because they could lead back here.
    if path.is_dir() && !path.is_symlink() {
        let entries = std::fs::read_dir(&path).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let mut names: Vec<_> =
            entries.iter().map(std::fs::DirEntry::file_name).filter(|name| name != NOT_READ).collect();
        names.sort();
        return names.iter().try_for_each(|entry| add_path(digest, folder, &name.join(entry), made));
    }
    if path.is_file() {
        add(digest, &std::fs::read(&path).map_err(failed)?);
    }
    Ok(())
}

/// Adds a part together with its length, so that different sequences of parts never give the same bytes.
fn add(digest: &mut Context, part: &[u8]) {
    digest.update(&part.len().to_be_bytes());
    digest.update(part);
}
