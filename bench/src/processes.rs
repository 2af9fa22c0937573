//! Processor time and memory of a target's processes, by kind, from `/proc`.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

/// The processes of one kind.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Usage {
    pub(crate) processes: usize,
    /// Processor time since the start of each, in milliseconds.
    pub(crate) cpu_ms: f64,
    /// Memory, in bytes. Pages that several processes share count in parts (`Pss`).
    pub(crate) memory: u64,
}

/// The kernel counts processor time in hundredths of a second (`USER_HZ`).
const MS_PER_TICK: f64 = 10.0;

/// The process `root` and everything below it. The kind of a process is the name of its program.
///
/// A process that ends between two looks takes its time with it. The hosts measured here keep theirs.
pub(crate) fn usage(root: u32) -> BTreeMap<String, Usage> {
    let all: Vec<(u32, u32, String, f64)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| stat(entry.ok()?.file_name().to_str()?.parse().ok()?))
        .collect();
    let mut family = vec![root];
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        family.extend(all.iter().filter(|(_, its_parent, ..)| *its_parent == parent).map(|(pid, ..)| *pid));
        at += 1;
    }
    let mut kinds: BTreeMap<String, Usage> = BTreeMap::new();
    for (pid, _, name, cpu_ms) in all.into_iter().filter(|(pid, ..)| family.contains(pid)) {
        let kind = kinds.entry(name).or_default();
        kind.processes += 1;
        kind.cpu_ms += cpu_ms;
        kind.memory += memory(pid);
    }
    kinds
}

/// The parent, the program's name and the processor time of a process.
fn stat(pid: u32) -> Option<(u32, u32, String, f64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((pid, u32::try_from(number(1)?).ok()?, name, (number(11)? + number(12)?) as f64 * MS_PER_TICK))
}

/// The memory of a process, in bytes, with its part of shared pages.
pub(crate) fn memory(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// The processor time of all threads of a process, in milliseconds, more exact than `stat` has it.
pub(crate) fn cpu_ms(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1e6
}

/// What was used between two looks.
pub(crate) fn since(before: &BTreeMap<String, Usage>, after: &BTreeMap<String, Usage>) -> BTreeMap<String, Usage> {
    let used = after.iter().map(|(kind, after)| {
        let before = before.get(kind).map_or(0.0, |before| before.cpu_ms);
        (kind.clone(), Usage { cpu_ms: (after.cpu_ms - before).max(0.0), ..*after })
    });
    used.collect()
}
