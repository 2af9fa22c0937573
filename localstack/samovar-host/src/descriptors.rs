//! Estimates how many file descriptors the functions may need, and warns before the system refuses to open more.
//!
//! The limit is only read. Raising it needs `unsafe` or another process, and is the user's decision.

use super::function::FunctionSpec;

/// A process costs the host 4: its output pipe, a pidfd, its Runtime API and its connection to it. The process's SDK
/// clients hold connections to the same local stack: usually one for each of DynamoDB, SQS, S3 and the management API.
/// An extension holds one more.
const PER_PROCESS: u64 = 9;
/// The assumed concurrency of a function without a reservation.
const UNRESERVED: u64 = 10;
/// The descriptors of clients, engines and the rest of the local stack.
const BASE: u64 = 256;

pub(super) fn warn_if_too_few(functions: &[FunctionSpec]) {
    let Some(limit) = std::fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(soft_limit) else {
        return; // Not Linux, or unlimited.
    };
    let processes: u64 = functions.iter().map(|f| f.concurrency.map_or(UNRESERVED, u64::from)).sum();
    let needed = BASE + processes * PER_PROCESS;
    if limit < needed {
        tracing::warn!(
            "functions: {limit} open files are enough for about {} of {processes} processes at once; \
             `ulimit -n {needed}` before the start makes room for all",
            limit.saturating_sub(BASE) / PER_PROCESS
        );
    }
}

fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::soft_limit;

    #[test]
    fn the_soft_limit_is_read_and_unlimited_is_none() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max open files            1024                 524288               files\n";
        assert_eq!(soft_limit(text), Some(1024));
        assert_eq!(soft_limit("Max open files            unlimited            unlimited            files\n"), None);
    }
}
