//! Hot reload: builds a function again when one of its sources was saved, and gives its next invocation the new code.
//!
//! One task looks at the sources some times a second, builds what has changed, and looks again. So there is one build
//! at a time, and what happens in which order is decided here alone.
//!
//! *No edit is missed.* The task compares the state of the sources now with their state before the last build began,
//! not after it. So an edit during a build, at any moment of it, is a difference at the next look, and so is a second
//! edit shortly after a first. A source that only the new build has named, as all have at the start, counts as changed
//! if it is younger than the build.
//!
//! *No half of a change is built, as far as can be seen.* An editor or a checkout may write several files. A build
//! begins when two looks in a row have seen the same.
//!
//! *A build that fails changes nothing.* The old code goes on, the tool has printed its errors, and the next edit is
//! waited for. Of several functions that have changed together, one that does not build does not hold up the others.
//! Cargo does not name the sources of a build that failed. So until the next one that succeeds, every file of the
//! function's packages counts as a source: the error may be in a new file.
//!
//! *A build that writes the same again does not start the next one.* A Makefile may write into the folder that is
//! watched. What it has written counts as changed once. If the next build writes the same content again, nothing has
//! changed.
//!
//! *Running invocations finish in the old code.* The host sees to that (`Host::replace_code`). Each build of a compiled
//! function has a program of its own, so a process of the old build can still be started while the new one is written.
//! Code in Python and JavaScript runs from its sources, so a process that imports a file late gets the new one.
//!
//! The files are looked at, and the system is not asked to report changes. Reports can't be had everywhere (network and
//! container file systems, WSL), their number is limited, and editors that replace a file break them. All that is
//! needed of a file is its time and size: a look at 1,000 files takes about 2 ms. If it takes long, there are fewer
//! looks.

mod sources;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use samovar_host::Host;
use samovar_template::Function;
use tokio_util::sync::CancellationToken;

use crate::build::{Builder, Built, Sources};
use crate::clock::now_ms;
use sources::{Snapshot, snapshot};

/// The time between two looks.
const INTERVAL: Duration = Duration::from_millis(150);
/// The looks take at most this part of a core's time.
const SHARE: u32 = 10;

/// A function whose sources are watched.
#[derive(Debug)]
struct Watched {
    function: Function,
    sources: Sources,
    /// The sources when the last build began.
    built_from: Snapshot,
    /// Whether that build failed.
    failed: bool,
}

impl Watched {
    fn new(function: Function, sources: Sources, began_ms: i64) -> Self {
        let mut watched = Self { function, sources, built_from: Snapshot::default(), failed: false };
        let now = watched.snapshot();
        watched.built_from.add_older_than(now, began_ms);
        watched
    }

    fn snapshot(&self) -> Snapshot {
        snapshot(&self.function.code_dir, &self.sources, self.failed)
    }
}

/// Watches the sources of these functions until `stop`. The build of all of them began at `began_ms`.
pub(crate) async fn watch(
    functions: Vec<Function>,
    built: BTreeMap<String, Built>,
    began_ms: i64,
    builder: Arc<Builder>,
    host: Host,
    stop: CancellationToken,
) {
    let mut all: Vec<Watched> = functions
        .into_iter()
        .filter_map(|function| {
            let sources = built.get(&function.name)?.sources.clone();
            Some(Watched::new(function, sources, began_ms))
        })
        .collect();
    tracing::info!("The sources of {} functions are watched", all.len());
    let watching = async {
        let mut pause = INTERVAL;
        loop {
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            let changed = look(&mut all);
            pause = INTERVAL.max(began.elapsed() * SHARE);
            if !changed.is_empty() {
                let changed = settled(&mut all, changed).await;
                rebuild(&mut all, changed, &builder, &host).await;
            }
        }
    };
    tokio::select! {
        () = watching => {}
        () = stop.cancelled() => {}
    }
}

/// The functions whose sources have changed, by their place, with the sources as they are now.
type Changed = BTreeMap<usize, Snapshot>;

/// Waits until a change is no longer going on.
async fn settled(all: &mut [Watched], mut seen: Changed) -> Changed {
    loop {
        tokio::time::sleep(INTERVAL / 3).await;
        let again = look(all);
        if again == seen {
            return seen;
        }
        seen = again;
    }
}

fn look(all: &mut [Watched]) -> Changed {
    let mut changed = Changed::new();
    for (at, one) in all.iter_mut().enumerate() {
        let now = one.snapshot();
        if now != one.built_from && !one.built_from.take_same_contents(&now) {
            changed.insert(at, now);
        }
    }
    changed
}

async fn rebuild(all: &mut [Watched], changed: Changed, builder: &Builder, host: &Host) {
    let saved_ms = changed.iter().filter_map(|(at, now)| now.newest_since(&all[*at].built_from)).max();
    let began_ms = now_ms();
    let places: Vec<usize> = changed.keys().copied().collect();
    for (at, now) in changed {
        // This is what the build begins with, whether it succeeds or not.
        all[at].built_from = now.with_contents_changed_since(&all[at].built_from);
    }
    let together: Vec<_> = places.iter().map(|at| &all[*at].function).collect();
    let mut results = vec![builder.build(&together).await];
    if together.len() > 1 && results[0].is_err() {
        results.clear();
        for function in together {
            results.push(builder.build(&[function]).await);
        }
    }
    let mut replaced = Vec::new();
    for result in results {
        match result {
            Ok(built) => {
                for (name, Built { code, sources, .. }) in built {
                    host.replace_code(&name, code);
                    if let Some(one) = all.iter_mut().find(|one| one.function.name == name) {
                        (one.sources, one.failed) = (sources, false);
                        let now = one.snapshot();
                        one.built_from.add_older_than(now, began_ms);
                    }
                    replaced.push(name);
                }
            }
            Err(error) => tracing::error!("The old code goes on. {error}"),
        }
    }
    for at in places {
        let one = &mut all[at];
        if !replaced.contains(&one.function.name) && !one.failed {
            one.failed = true;
            let now = one.snapshot();
            one.built_from.add_older_than(now, began_ms);
        }
    }
    if !replaced.is_empty() {
        let after = saved_ms.map_or(0, |saved_ms| now_ms().saturating_sub(saved_ms));
        let names = replaced.join(", ");
        tracing::info!("{names}: the next invocation runs the new code, {:.2} s after the save", after as f64 / 1e3);
    }
}

/// Milliseconds since the epoch.
fn epoch_ms(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
