//! A small campaign with all clients and all faults, but few messages. `just campaign` runs larger ones.

use std::path::Path;

use e2e::campaign::{Options, run};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_under_all_faults_lose_nothing_and_see_nothing_twice() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options {
        seeds: 1..=1,
        clients: 50,
        messages: 4,
        rate: 0.02,
        jobs: 1,
        crash_every: 1,
        directory: directory.path().to_owned(),
        keep: true,
        report: directory.path().join("report.json"),
        resume: false,
    };
    let report = run(&options).await.expect("the report is kept");
    let broken: Vec<_> = report.broken().collect();
    if !broken.is_empty() {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("campaign");
        let _ = std::fs::remove_dir_all(&kept);
        std::fs::rename(directory.keep(), &kept).expect("what was found is kept");
        panic!("rules were broken, the histories are in {}: {broken:#?}", kept.display());
    }
    let counts = report.counts();
    for what in ["stack killed", "fault kill_before", "fault kill_after", "fault lost", "refused 503", "takeover"] {
        assert!(counts.contains_key(what), "{what} never happened: {counts:#?}");
    }
}
