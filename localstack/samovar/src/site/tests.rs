//! When a site is built, and what is said when it can't be. Commands are the shell's own, so nothing is needed for them.
#![allow(clippy::unwrap_used, reason = "A test that panics has failed, as it should")]

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::build::{NotBuilt, STAMP, prepare};
use super::*;
use crate::testing::within;
use samovar_template::SiteBuild;

#[allow(clippy::disallowed_methods, reason = "files are given times")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A project in a folder of its own: each build adds a line to `log`, which is no source.
struct Project {
    dir: tempfile::TempDir,
    spec: StaticSite,
}

const RUN: &str = "echo built >> log && mkdir -p dist && cp index.html dist/";

impl Project {
    fn new(run: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().to_owned();
        std::fs::create_dir(folder.join("src")).unwrap();
        let spec = StaticSite {
            directory: folder.join("dist"),
            build: Some(SiteBuild {
                directory: folder,
                needs: None,
                install: None,
                run: run.to_owned(),
                sources: vec!["src".to_owned(), "index.html".to_owned()],
            }),
            fallback: Some("index.html".to_owned()),
            immutable: None,
            headers: Vec::new(),
            files: std::collections::BTreeMap::new(),
        };
        let project = Self { dir, spec };
        project.write("index.html", "<p>one");
        project.write("src/main.ts", "1");
        project
    }

    fn build(&mut self) -> &mut SiteBuild {
        self.spec.build.as_mut().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    async fn prepare(&self) -> Result<(), NotBuilt> {
        within("The site is prepared", prepare(&self.spec, true)).await
    }

    async fn error(&self) -> String {
        self.prepare().await.unwrap_err().to_string()
    }

    fn builds(&self) -> usize {
        self.read("log").lines().count()
    }

    async fn appears(&self, name: &str) -> String {
        let written = async {
            loop {
                if let Some(text) = std::fs::read_to_string(self.path(name)).ok().filter(|text| text.ends_with('\n')) {
                    return text.trim().to_owned();
                }
                // A file has no event: this is the polling interval.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within(format_args!("{name} is there"), written).await
    }
}

async fn is_gone(pid: &str) {
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next())
    };
    let gone = async {
        while state().is_some_and(|state| state != 'Z') {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(format_args!("process {pid} is gone"), gone).await;
}

#[tokio::test]
async fn a_site_is_built_once_for_the_same_sources() {
    let project = Project::new(RUN);
    for _ in 0..2 {
        project.prepare().await.unwrap();
    }
    assert_eq!((project.builds(), project.read("dist/index.html").as_str()), (1, "<p>one"));
    // A clone or a checkout: new times, old contents.
    let later = now() + Duration::from_secs(3600);
    std::fs::File::options().write(true).open(project.path("src/main.ts")).unwrap().set_modified(later).unwrap();
    project.prepare().await.unwrap();
    assert_eq!(project.builds(), 1);
}

#[tokio::test]
async fn a_source_that_is_changed_added_moved_or_removed_is_a_reason_to_build() {
    let project = Project::new(RUN);
    let mut builds = 0;
    let changes: [&dyn Fn(); 6] = [
        &|| {},
        &|| project.write("src/main.ts", "2"),
        &|| project.write("src/new.ts", ""),
        &|| std::fs::rename(project.path("src/new.ts"), project.path("src/moved.ts")).unwrap(),
        &|| std::fs::remove_file(project.path("src/moved.ts")).unwrap(),
        &|| std::fs::remove_dir_all(project.path("dist")).unwrap(),
    ];
    for change in changes {
        change();
        project.prepare().await.unwrap();
        builds += 1;
        assert_eq!(project.builds(), builds);
    }
    project.write("README", "not a source");
    project.prepare().await.unwrap();
    assert_eq!(project.builds(), builds);
}

#[tokio::test]
async fn another_command_is_a_reason_to_build() {
    let mut project = Project::new(RUN);
    project.prepare().await.unwrap();
    project.build().run = format!("{RUN} && true");
    project.prepare().await.unwrap();
    assert_eq!(project.builds(), 2);
}

#[tokio::test]
async fn a_directory_that_something_else_has_made_is_not_trusted() {
    let project = Project::new(RUN);
    std::fs::create_dir(project.path("dist")).unwrap();
    project.write("dist/index.html", "<p>of another time");
    project.prepare().await.unwrap();
    assert_eq!(project.read("dist/index.html"), "<p>one");
}

#[tokio::test]
async fn what_was_made_and_what_was_installed_are_no_sources() {
    let mut project = Project::new("mkdir -p dist node_modules && echo $$ | tee dist/pid > node_modules/pid");
    project.build().sources = vec![".".to_owned()];
    project.prepare().await.unwrap();
    let first = project.read("dist/pid");
    project.prepare().await.unwrap();
    assert_eq!(project.read("dist/pid"), first);
    project.write("any", "");
    project.prepare().await.unwrap();
    assert_ne!(project.read("dist/pid"), first);
}

#[tokio::test]
async fn packages_are_installed_when_the_lock_file_is_newer_than_what_is_installed() {
    let mut project = Project::new(RUN);
    project.build().install = Some(
        "echo installed >> installs && mkdir -p node_modules && echo > node_modules/.package-lock.json".to_owned(),
    );
    let installs = |project: &Project| project.read("installs").lines().count();
    project.write("package-lock.json", "{}");
    project.prepare().await.unwrap();
    project.write("src/main.ts", "2");
    project.prepare().await.unwrap();
    assert_eq!((installs(&project), project.builds()), (1, 2));

    let lock_file = std::fs::File::options().write(true).open(project.path("package-lock.json")).unwrap();
    lock_file.set_modified(now() + Duration::from_secs(60)).unwrap();
    project.write("src/main.ts", "3");
    project.prepare().await.unwrap();
    assert_eq!(installs(&project), 2);

    // As an installation that was interrupted leaves it.
    std::fs::remove_file(project.path("node_modules/.package-lock.json")).unwrap();
    project.write("src/main.ts", "4");
    project.prepare().await.unwrap();
    assert_eq!(installs(&project), 3);
}

#[tokio::test]
async fn an_interrupted_build_has_not_happened_and_leaves_no_process() {
    let mut project = Project::new("mkdir -p dist && (echo $$ > pid; sleep 600; true) && echo never > dist/done");
    let spec = project.spec.clone();
    let building = tokio::spawn(async move { prepare(&spec, true).await.map_err(|error| error.to_string()) });
    let pid = project.appears("pid").await;
    building.abort();
    is_gone(&pid).await;
    assert!(project.path("dist").is_dir() && !project.path("dist").join(STAMP).exists());
    // The lock is free, and the half of a directory is not taken for a site.
    project.build().run = RUN.to_owned();
    project.prepare().await.unwrap();
    assert_eq!(project.builds(), 1);
}

#[tokio::test]
async fn an_interrupted_build_spoils_what_was_there() {
    let mut project = Project::new(RUN);
    project.prepare().await.unwrap();
    project.write("index.html", "<p>two");
    project.build().run = "exit 3".to_owned();
    project.prepare().await.unwrap_err();
    project.write("index.html", "<p>one");
    project.build().run = RUN.to_owned();
    project.prepare().await.unwrap();
    assert_eq!(project.builds(), 2, "although sources and command are those of the first build");
}

#[tokio::test]
async fn of_two_at_once_one_builds_and_the_other_waits_for_it() {
    let project = Project::new(&format!("mkdir running && {RUN} && rmdir running"));
    let (one, other, third) = tokio::join!(project.prepare(), project.prepare(), project.prepare());
    one.and(other).and(third).unwrap();
    assert_eq!(project.builds(), 1);
}

#[tokio::test]
async fn a_build_that_fails_is_said_with_its_command_and_status() {
    let project = Project::new("exit 3");
    let error = project.error().await;
    let folder = project.dir.path().display();
    let expected = format!("The site is not built, because \"exit 3\" failed in {folder} (exit status: 3): its output");
    assert!(error.starts_with(&expected), "{error}");
}

#[tokio::test]
async fn a_command_that_is_not_installed_is_said_with_what_to_install() {
    let mut project = Project::new("no-such-tool run build");
    let expected = "The site is not built, because no-such-tool was not found: install no-such-tool and start again";
    assert_eq!(project.error().await, expected);
    project.build().needs = Some("Some.js 20 or newer".to_owned());
    assert!(project.error().await.ends_with("install Some.js 20 or newer and start again"));
    project.build().install = Some("no-such-installer".to_owned());
    assert!(project.error().await.contains("no-such-installer was not found"));
    // What a command does not find is its own affair: it is installed.
    let inner = Project::new("sh -c no-such-tool");
    assert!(inner.error().await.contains("\"sh -c no-such-tool\" failed"));
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let mut project = Project::new("true");
    let expected = "The site is not built, because \"true\" did not make the folder ";
    assert!(project.error().await.starts_with(expected));
    let not_asked = prepare(&project.spec, false).await.unwrap_err().to_string();
    assert!(not_asked.ends_with("start again without --no-site-build"), "{not_asked}");

    let folder = project.dir.path().to_owned();
    project.build().directory = folder.join("infra/../web");
    let named = format!("there is no folder {}: make it", folder.join("web").display());
    assert!(project.error().await.contains(&named), "{}", project.error().await);
    project.spec.build = None;
    assert!(project.error().await.contains("there is no folder"));
    std::fs::create_dir(project.path("dist")).unwrap();
    project.prepare().await.unwrap();
}

#[tokio::test]
async fn without_building_what_is_there_is_served() {
    let project = Project::new("exit 1");
    std::fs::create_dir(project.path("dist")).unwrap();
    prepare(&project.spec, false).await.unwrap();
}

#[tokio::test]
async fn a_stamp_that_cannot_be_written_is_named() {
    let project = Project::new(RUN);
    std::fs::create_dir_all(project.path("dist").join(STAMP)).unwrap();
    let error = project.error().await;
    assert!(error.contains(STAMP) && error.contains("can't be used"), "{error}");
    assert_eq!(project.builds(), 0);
}

#[test]
fn only_names_of_this_machine_are_loopback() {
    for host in ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "[::1]"] {
        assert!(is_loopback(host), "{host}");
    }
    for host in ["", "localhost.example", "localhost:", "localhost:x", "localhost:80/", "127.0.0.1.example", "::1", "é"]
    {
        assert!(!is_loopback(host), "{host}");
    }
}
