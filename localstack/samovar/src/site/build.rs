//! Whether a site is what its sources say, and making it so.
//!
//! What was built from which sources is written into the directory that was made, as the last step. So a build that was
//! interrupted has not happened, and a directory that something else has made is not trusted. Of stacks that start at
//! once, one looks and builds and the others wait: the folder of the build is locked. The system releases the lock with the
//! process, however that ends; its build ends with it too (`command`).

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use super::{command, fingerprint};
use samovar_template::{SiteBuild, StaticSite};

/// The file that says what the directory was built from.
pub(super) const STAMP: &str = ".build-stamp";

/// Where npm writes down what it has installed, when it has.
const INSTALLED: &str = "node_modules/.package-lock.json";
/// What is to be installed.
const LOCK_FILE: &str = "package-lock.json";

/// How often a lock is tried. To wait for it in a thread would keep the process from ending.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// Why there is no site: a sentence for whoever starts the stack.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotBuilt {
    #[error("The site is not there, because there is no folder {}: make it and start again", .folder.display())]
    NoFolder { folder: PathBuf },
    #[error("The site is not there, because it was not to be built: start again without --no-site-build")]
    NotAsked,
    #[error("The site is not built, because {program} was not found: install {needs} and start again")]
    NoProgram { program: String, needs: String },
    #[error(
        "The site is not built, because \"{command}\" failed in {} ({status}): its output at the terminal says why",
        .folder.display()
    )]
    Failed { command: String, folder: PathBuf, status: ExitStatus },
    #[error("The site is not built, because \"{command}\" did not make the folder {}: correct one of the two in the template", .folder.display())]
    MadeNothing { command: String, folder: PathBuf },
    #[error("The site is not built, because {} can't be used: {source}", .path.display())]
    Unusable { path: PathBuf, source: io::Error },
}

pub(super) async fn prepare(site: &StaticSite, may_build: bool) -> Result<(), NotBuilt> {
    match &site.build {
        Some(build) if may_build => make(build, &site.directory).await,
        _ if site.directory.is_dir() => Ok(()),
        Some(_) => Err(NotBuilt::NotAsked),
        None => Err(NotBuilt::NoFolder { folder: tidy(&site.directory) }),
    }
}

async fn make(build: &SiteBuild, directory: &Path) -> Result<(), NotBuilt> {
    let folder = &build.directory;
    if !folder.is_dir() {
        return Err(NotBuilt::NoFolder { folder: tidy(folder) });
    }
    let unusable = |path: &Path, source| NotBuilt::Unusable { path: tidy(path), source };
    let _lock = lock(folder).await.map_err(|source| unusable(folder, source))?;
    let stamp = directory.join(STAMP);
    let made_of = || fingerprint::of(build, directory).map_err(|(path, source)| unusable(&path, source));
    let now = made_of()?;
    if std::fs::read_to_string(&stamp).is_ok_and(|then| then == now) {
        return Ok(());
    }
    for source in fingerprint::missing(build) {
        tracing::warn!("{} is a source of the site and is not there", tidy(&folder.join(source)).display());
    }
    eprintln!("    Building the site in {}", tidy(folder).display());
    match std::fs::remove_file(&stamp) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(unusable(&stamp, source)),
        _ => {}
    }
    if let Some(install) = build.install.as_ref().filter(|_| !is_installed(folder)) {
        run(build, install).await?;
    }
    // After the installation, which may write a lock file, and before the build: what changes during it is not in it.
    let now = made_of()?;
    run(build, &build.run).await?;
    if !directory.is_dir() {
        return Err(NotBuilt::MadeNothing { command: build.run.clone(), folder: tidy(directory) });
    }
    std::fs::write(&stamp, now).map_err(|source| unusable(&stamp, source))
}

async fn run(build: &SiteBuild, command: &str) -> Result<(), NotBuilt> {
    let folder = &build.directory;
    let unusable = |source| NotBuilt::Unusable { path: tidy(folder), source };
    if let Some(program) = command::not_found(command, folder).await.map_err(unusable)? {
        let needs = build.needs.clone().unwrap_or_else(|| program.clone());
        return Err(NotBuilt::NoProgram { program, needs });
    }
    let status = command::run(command, folder).await.map_err(unusable)?;
    match status.success() {
        true => Ok(()),
        false => Err(NotBuilt::Failed { command: command.to_owned(), folder: tidy(folder), status }),
    }
}

/// Whether npm has installed what the lock file says now.
fn is_installed(folder: &Path) -> bool {
    let modified = |name: &str| folder.join(name).metadata().and_then(|file| file.modified()).ok();
    modified(INSTALLED).is_some_and(|installed| modified(LOCK_FILE).is_none_or(|wanted| wanted <= installed))
}

/// The folder itself is locked, so nothing is left in it.
async fn lock(folder: &Path) -> io::Result<File> {
    let file = File::open(folder)?;
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {}
        }
        if !said {
            eprintln!("    Waiting for another build of the site in {}", tidy(folder).display());
            said = true;
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}

/// As it is shown, without detours: `infra/../web` is `web`. Links can make that another folder, so it is not used.
fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir if matches!(tidied.components().next_back(), Some(Component::Normal(_))) => {
                tidied.pop();
            }
            Component::CurDir => {}
            other => tidied.push(other),
        }
    }
    if tidied.as_os_str().is_empty() { PathBuf::from(".") } else { tidied }
}
