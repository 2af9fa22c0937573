//! Whether a debugger has attached to a process. Linux tells it: `TracerPid` in `/proc/PID/status`.

use std::time::Duration;

/// Whether this machine tells it.
pub(super) const CAN_TELL: bool = cfg!(target_os = "linux");

/// The time between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Returns when a debugger has attached to this process. It never returns without one.
pub(super) async fn attached(pid: Option<u32>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        if pid.is_some_and(|pid| is_traced(&std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()))
        {
            return;
        }
    }
}

fn is_traced(status: &str) -> bool {
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|pid| pid.trim() != "0")
}

/// What to do first, on machines where only a parent may attach.
pub(super) fn hint() -> &'static str {
    hint_for(&std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default())
}

fn hint_for(scope: &str) -> &'static str {
    match scope.trim() {
        "" | "0" => "",
        _ => ". This machine lets only root attach to it: use sudo, or sysctl kernel.yama.ptrace_scope=0 first",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debugger_is_seen_in_the_status_of_the_process() {
        assert!(is_traced("Name:\tworker\nTracerPid:\t812\nUid:\t0\n"));
        assert!(!is_traced("Name:\tworker\nTracerPid:\t0\nUid:\t0\n") && !is_traced(""));
        if CAN_TELL {
            assert!(std::fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("TracerPid:")));
        }
    }

    #[test]
    fn the_hint_is_for_machines_where_only_a_parent_may_attach() {
        assert_eq!((hint_for(""), hint_for("0\n")), ("", ""));
        assert!(hint_for("1\n").contains("ptrace_scope=0"));
    }
}
