//! Builds a site if its sources have changed.
//!
//! The last step of a build records in the built directory which sources it was built from. So an interrupted build
//! does not count, and a directory that another tool has built is not trusted. If several stacks start at once, one
//! checks and builds and the others wait, because the folder of the build is locked. The system releases the lock when
//! the process ends, in whatever way, and the build's commands end with it (`command`).

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use super::{command, fingerprint};
use samovar_template::{SiteBuild, StaticSite};

/// The file that records what the directory was built from.
pub(super) const STAMP: &str = ".build-stamp";

/// The file in which npm records what it has installed, as its last step.
const INSTALLED: &str = "node_modules/.package-lock.json";
/// The file that lists the packages to install.
const LOCK_FILE: &str = "package-lock.json";

/// The interval at which the lock is tried. Waiting for it in a thread would keep the process from ending.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// The reason why there is no site, as a sentence for the user.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotBuilt {
    #[error("There is no site, because there is no folder {}: create it and start again", .folder.display())]
    NoFolder { folder: PathBuf },
    #[error("There is no site, because it has not been built yet: start again without --no-site-build")]
    NotAsked,
    #[error("The site is not built, because {program} was not found: install {needs} and start again")]
    NoProgram { program: String, needs: String },
    #[error(
        "The site is not built, because \"{command}\" failed in {} ({status}): its output at the terminal says why",
        .folder.display()
    )]
    Failed { command: String, folder: PathBuf, status: ExitStatus },
    #[error("The site is not built, because \"{command}\" did not make the folder {}: correct one of the two in the \
             template", .folder.display())]
    MadeNothing { command: String, folder: PathBuf },
    #[error("The site is not built, because {} cannot be used: {source}", .path.display())]
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
        tracing::warn!(
            "{} does not exist, but the template names it as a source of the site",
            tidy(&folder.join(source)).display()
        );
    }
    eprintln!("    Building the site in {}", tidy(folder).display());
    match std::fs::remove_file(&stamp) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(unusable(&stamp, source)),
        _ => {}
    }
    if let Some(install) = build.install.as_ref().filter(|_| !is_installed(folder)) {
        run(build, install).await?;
    }
    // Computed after the installation, which may write a lock file, and before the build. So a change during the build
    // is not taken for built.
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

/// Whether npm has installed the packages of the current lock file.
fn is_installed(folder: &Path) -> bool {
    let modified = |name: &str| folder.join(name).metadata().and_then(|file| file.modified()).ok();
    modified(INSTALLED).is_some_and(|installed| modified(LOCK_FILE).is_none_or(|wanted| wanted <= installed))
}

/// Locks the folder itself, so that no lock file is left in it.
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

/// The path for display, without detours: `infra/../web` becomes `web`. With symbolic links that can be another folder,
/// so the result is only shown and never opened.
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
