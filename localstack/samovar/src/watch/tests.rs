//! Edits at every moment, with real builds and real processes. The functions are shell scripts: a Makefile builds them
//! in some milliseconds, and can be held in the middle.

use std::path::{Path, PathBuf};

use samovar_template::BuildMethod;

use super::*;
use crate::build::testing::function;
use crate::testing::within;

/// The program answers each event with its version. An event with a path waits until that file exists.
const MAIN: &str = r#"#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  headers="$(mktemp)"
  event="$(curl -sS -D "$headers" "$api/next" | tr -d '"')" || exit 1
  id="$(grep -i ^lambda-runtime-aws-request-id: "$headers" | tr -d '\r' | cut -d ' ' -f 2)"
  rm "$headers"
  case "$event" in /*) touch "$event.runs"; while [ ! -e "$event" ]; do sleep 0.01; done ;; esac
  curl -sS -o /dev/null -d '"VERSION"' "$api/$id/response"
done
"#;

/// Builds from `version`; while there is a file `hold`, it waits in the middle.
const MAKEFILE: &str = "build-F:\n\ttouch ../building\n\
    \tcp version ../read; while [ -e ../hold ]; do sleep 0.01; done\n\
    \tgrep -q '^[0-9]*$$' ../read\n\
    \tsed \"s/VERSION/$$(cat ../read)/\" main.sh > $(ARTIFACTS_DIR)/bootstrap && chmod +x $(ARTIFACTS_DIR)/bootstrap\n";

fn with_makefile(id: &str, code_dir: &Path) -> Function {
    Function { build_method: BuildMethod::Makefile, ..function(id, "provided.al2023", code_dir) }
}

/// A builder, and a time that is later than that of every file so far.
fn begin() -> (Arc<Builder>, i64) {
    (Arc::new(Builder::new(false, true).unwrap()), later_ms())
}

fn later_ms() -> i64 {
    let written_ms = now_ms();
    while now_ms() <= written_ms + sources::LAG_MS {
        std::thread::yield_now();
    }
    now_ms()
}

fn host(functions: &[&Function], built: &BTreeMap<String, Built>) -> Host {
    let spec = |function: &&Function| samovar_host::FunctionSpec {
        name: function.name.clone(),
        function_name: function.name.clone(),
        arn: function.arn.clone(),
        runtime: function.runtime.clone(),
        handler: function.handler.clone(),
        code: built[&function.name].code.clone(),
        memory_mb: 128,
        timeout: Duration::from_secs(30),
        concurrency: None,
        environment: BTreeMap::new(),
        own_credentials: true,
        debug: None,
    };
    Host::new(functions.iter().map(spec).collect(), "us-east-1".to_owned(), 1000)
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The names of the functions whose sources have changed.
fn changed(all: &mut [Watched]) -> Vec<String> {
    look(all).into_keys().map(|at| all[at].function.name.clone()).collect()
}

struct Bench {
    host: Host,
    stop: CancellationToken,
    watching: tokio::task::JoinHandle<()>,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Option<Self> {
        if std::process::Command::new("curl").arg("--version").output().is_err() {
            eprintln!("skipped: there is no curl here");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let code_dir = folder.path().join("code");
        std::fs::create_dir(&code_dir).unwrap();
        for (name, text) in [("main.sh", MAIN), ("Makefile", MAKEFILE), ("version", "1")] {
            std::fs::write(code_dir.join(name), text).unwrap();
        }
        let function = with_makefile("F", &code_dir);
        let (builder, began_ms) = begin();
        let built = builder.build(&[&function]).await.unwrap();
        let host = host(&[&function], &built);
        let stop = CancellationToken::new();
        let watching = tokio::spawn(watch(vec![function], built, began_ms, builder, host.clone(), stop.clone()));
        let bench = Self { host, stop, watching, folder };
        assert_eq!(bench.version().await, "1");
        Some(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Saves a version as editors do: a new file takes the place of the old one.
    fn save(&self, version: &str) {
        let new = self.path("new");
        std::fs::write(&new, version).unwrap();
        std::fs::rename(new, self.path("code/version")).unwrap();
    }

    async fn invoke(&self, event: &str) -> String {
        let answer = self.host.invoke("F", format!("{event:?}").into(), None).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    async fn version(&self) -> String {
        self.invoke("").await
    }

    async fn comes(&self, version: &str) {
        let come = async {
            while self.version().await != version {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(format!("version {version} answers"), come).await;
    }

    async fn end(self) {
        self.stop.cancel();
        self.watching.await.unwrap();
        self.host.shutdown(Duration::from_secs(5)).await;
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let come = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(what, come).await;
}

async fn exists(path: &Path) {
    until(&format!("{} exists", path.display()), || path.exists()).await;
}

#[tokio::test]
async fn a_saved_source_is_what_the_next_invocation_runs() {
    let Some(bench) = Bench::start().await else { return };
    bench.save("2");
    bench.comes("2").await;
    let cold_starts = bench.host.state()["F"].cold_starts;
    bench.version().await;
    assert_eq!(bench.host.state()["F"].cold_starts, cold_starts, "without an edit, the process stays");
    bench.end().await;
}

#[tokio::test]
async fn an_edit_during_an_invocation_lets_it_finish_in_the_old_code() {
    let Some(bench) = Bench::start().await else { return };
    let gate = bench.path("gate");
    let old = bench.invoke(gate.to_str().unwrap());
    let meanwhile = async {
        exists(&bench.path("gate.runs")).await;
        bench.save("2");
        bench.comes("2").await;
        std::fs::write(&gate, "").unwrap();
    };
    let (old, ()) = tokio::join!(old, meanwhile);
    assert_eq!(old, "1");
    assert_eq!(bench.version().await, "2");
    bench.end().await;
}

#[tokio::test]
async fn an_edit_during_a_build_is_built_after_it() {
    let Some(bench) = Bench::start().await else { return };
    std::fs::remove_file(bench.path("building")).unwrap();
    std::fs::write(bench.path("hold"), "").unwrap();
    bench.save("2");
    exists(&bench.path("building")).await;
    until("the build has read its source", || std::fs::read_to_string(bench.path("read")).unwrap() == "2").await;
    // The build has read its source. The old code answers meanwhile.
    bench.save("3");
    assert_eq!(bench.version().await, "1");
    std::fs::remove_file(bench.path("hold")).unwrap();
    bench.comes("3").await;
    bench.end().await;
}

#[tokio::test]
async fn of_two_quick_edits_the_second_one_stays() {
    let Some(bench) = Bench::start().await else { return };
    for round in 0..3 {
        bench.save(&format!("{}", 10 + round));
        bench.save(&format!("{}", 20 + round));
        bench.comes(&format!("{}", 20 + round)).await;
    }
    bench.end().await;
}

#[tokio::test]
async fn a_broken_edit_leaves_the_old_code_and_its_correction_is_built() {
    let Some(bench) = Bench::start().await else { return };
    std::fs::remove_file(bench.path("building")).unwrap();
    bench.save("broken");
    exists(&bench.path("building")).await;
    until("the build has read its source", || std::fs::read_to_string(bench.path("read")).unwrap() == "broken").await;
    assert_eq!(bench.version().await, "1");
    bench.save("2");
    bench.comes("2").await;
    assert_eq!(bench.host.state()["F"].errors, 0);
    bench.end().await;
}

#[tokio::test]
async fn a_makefile_that_writes_into_its_folder_is_not_run_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let makefile = "build-F:\n\tcp version made\n\tcp made $(ARTIFACTS_DIR)/bootstrap\n\
        \tchmod +x $(ARTIFACTS_DIR)/bootstrap\n";
    write(folder.path(), "Makefile", makefile);
    write(folder.path(), "version", "1");
    let function = with_makefile("F", folder.path());
    let (builder, began_ms) = begin();
    let built = builder.build(&[&function]).await.unwrap();
    let host = host(&[&function], &built);
    let mut all = [Watched::new(function, built["F"].sources.clone(), began_ms)];
    let mut builds = 0;
    for version in ["1", "22"] {
        write(folder.path(), "version", version);
        while !changed(&mut all).is_empty() {
            let changed = look(&mut all);
            rebuild(&mut all, changed, &builder, &host).await;
            builds += 1;
            assert!(builds <= 4, "a build has started the next one too often");
        }
        assert_eq!(std::fs::read_to_string(folder.path().join("made")).unwrap(), version);
    }
}

#[tokio::test]
async fn of_functions_that_have_changed_together_one_that_does_not_build_does_not_hold_up_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let bootstrap = "\techo '#!/bin/sh' > $(ARTIFACTS_DIR)/bootstrap; chmod +x $(ARTIFACTS_DIR)/bootstrap\n";
    for name in ["F", "G"] {
        write(folder.path(), &format!("{name}/Makefile"), &format!("build-{name}:\n{bootstrap}"));
    }
    let functions = ["F", "G"].map(|name| with_makefile(name, &folder.path().join(name)));
    let (builder, began_ms) = begin();
    let built = builder.build(&[&functions[0], &functions[1]]).await.unwrap();
    let host = host(&[&functions[0], &functions[1]], &built);
    let mut all = functions.map(|function| {
        let sources = built[&function.name].sources.clone();
        Watched::new(function, sources, began_ms)
    });
    assert!(changed(&mut all).is_empty());
    write(folder.path(), "F/Makefile", "build-F:\n\tfalse\n");
    write(folder.path(), "G/main", "edited");
    assert_eq!(changed(&mut all), ["F", "G"]);
    let both = look(&mut all);
    rebuild(&mut all, both, &builder, &host).await;
    assert_eq!((all[0].failed, all[1].failed), (true, false));
    assert!(changed(&mut all).is_empty(), "both are built from what there is");
    write(folder.path(), "F/Makefile", &format!("build-F:\n{bootstrap}"));
    assert_eq!(changed(&mut all), ["F"]);
}

#[tokio::test]
async fn a_rust_function_is_built_again_when_a_file_or_manifest_that_it_is_made_of_changes_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    write(folder, "Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"*-fn\"]\nexclude = [\"target\"]\n");
    write(folder, ".cargo/config.toml", "[build]\ntarget-dir = \"target\"\n");
    let manifest = |name: &str, version: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2024\"\n")
    };
    for name in ["one", "two"] {
        write(folder, &format!("{name}-fn/Cargo.toml"), &manifest(name, "0.1.0"));
        write(folder, &format!("{name}-fn/src/main.rs"), "mod part;\nfn main() { part::part() }\n");
        write(folder, &format!("{name}-fn/src/part.rs"), "pub fn part() {}\n");
    }
    let of = |name: &str| Function {
        build_method: BuildMethod::RustCargoLambda,
        binary: Some(name.to_owned()),
        ..function(name, "provided.al2023", folder)
    };
    let functions = [of("one"), of("two")];
    let first = Builder::new(false, true).unwrap();
    // It writes the list of packages, which is a source too.
    first.build(&[&functions[0], &functions[1]]).await.unwrap();
    let (builder, began_ms) = begin();
    let built = builder.build(&[&functions[0], &functions[1]]).await.unwrap();
    let host = host(&[&functions[0], &functions[1]], &built);
    let watched = |function: &Function| Watched::new(function.clone(), built[&function.name].sources.clone(), began_ms);
    let mut all: Vec<_> = functions.iter().map(watched).collect();
    assert!(changed(&mut all).is_empty());
    write(folder, "one-fn/src/part.rs", "pub fn part() { println!() }\n");
    write(folder, "one-fn/src/unused.rs", "");
    assert_eq!(changed(&mut all), ["one"]);
    write(folder, "two-fn/Cargo.toml", &manifest("two", "0.2.0"));
    assert_eq!(changed(&mut all), ["one", "two"]);

    // The program of the first build is still there while and after the second is made.
    let again = builder.build(&[&functions[0]]).await.unwrap();
    let (old, new) = (&built["one"].code.program, &again["one"].code.program);
    assert_ne!(old, new);
    assert_ne!(std::fs::read(old).unwrap(), std::fs::read(new).unwrap());

    // The error is in a file that no build so far has been made of.
    let mut all = vec![watched(&functions[0])];
    write(folder, "one-fn/src/main.rs", "mod part;\nmod new;\nfn main() { part::part(); new::new() }\n");
    write(folder, "one-fn/src/new.rs", "pub fn new( {}\n");
    later_ms();
    let edited = look(&mut all);
    rebuild(&mut all, edited, &builder, &host).await;
    assert!(all[0].failed && changed(&mut all).is_empty());
    write(folder, "one-fn/src/new.rs", "pub fn new() {}\n");
    let corrected = look(&mut all);
    assert_eq!(corrected.len(), 1);
    rebuild(&mut all, corrected, &builder, &host).await;
    assert!(!all[0].failed);
}
