//! What a site is made of, as one short text: names and contents of its sources, and the command that makes it.
//!
//! Not times: a clone and a checkout give new times to old contents, and a file that was moved away leaves none.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use samovar_template::SiteBuild;

/// Packages are what the lock file says, and too many to read.
const NOT_READ: &str = "node_modules";

/// `made` is what the build makes: it is nothing that the site is made of, even where it is inside of a source.
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

/// What is named as a source and is not there.
pub(super) fn missing(build: &SiteBuild) -> Vec<&str> {
    build.sources.iter().map(String::as_str).filter(|source| !build.directory.join(source).exists()).collect()
}

/// `name` begins at the folder of the build: where that is, is nothing that the site is made of.
fn add_path(digest: &mut Context, folder: &Path, name: &Path, made: Option<&Path>) -> Result<(), (PathBuf, io::Error)> {
    let path = folder.join(name);
    let failed = |error| (path.clone(), error);
    if made.is_some() && path.canonicalize().ok().as_deref() == made {
        return Ok(());
    }
    add(digest, name.as_os_str().as_encoded_bytes());
    // A link to a folder is not followed: it could lead back here.
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

/// With its length, so that no two sequences of parts are one.
fn add(digest: &mut Context, part: &[u8]) {
    digest.update(&part.len().to_be_bytes());
    digest.update(part);
}
