//! Runs the commands of a build in a shell. Their output goes to standard error, and they end with this process.
//!
//! A tool such as npm starts other processes, and killing npm would leave them running. So the command gets its own
//! process group, with a watcher in it that reads from a pipe of this process. The pipe ends if the build is given up
//! or if this process is killed. Then the watcher kills the group.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::process::Command;

/// `$1` is the command. It does not inherit the pipe, which is the script's standard input.
const WATCHED: &str = r#"
exec 3<&0 </dev/null
{ cat <&3 >/dev/null; kill -s KILL 0; } &
exec 3<&-
/bin/sh -c "$1"
status=$?
exec 2>/dev/null
kill $!
exit $status
"#;

/// Runs the command to its end. Dropping the future kills every process that it has started.
pub(super) async fn run(command: &str, directory: &Path) -> io::Result<ExitStatus> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", WATCHED, "sh", command]).current_dir(directory).process_group(0).kill_on_drop(true);
    // Standard output is reserved for the local stack itself.
    let output = || io::stderr().as_fd().try_clone_to_owned().map(Stdio::from);
    let mut child = shell.stdin(Stdio::piped()).stdout(output()?).stderr(output()?).spawn()?;
    // Taken out of the child, because waiting for the child would close the pipe.
    let _pipe = child.stdin.take();
    child.wait().await
}

/// The program that a command begins with, if the shell cannot find it.
pub(super) async fn not_found(command: &str, directory: &Path) -> io::Result<Option<String>> {
    let Some(program) = command.split_whitespace().next() else { return Ok(None) };
    // If this is not a plain word, the shell has to interpret it and report errors.
    if !program.chars().all(|c| c.is_ascii_alphanumeric() || "._-/+".contains(c)) {
        return Ok(None);
    }
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"command -v "$1""#, "sh", program]).current_dir(directory);
    let status = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await?;
    Ok((!status.success()).then(|| program.to_owned()))
}
