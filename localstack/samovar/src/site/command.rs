//! Commands of a build: run by the shell, heard on our standard error, and gone when we are.
//!
//! A tool such as npm starts others, and killing it leaves those. So the command gets a process group of its own, and in it a
//! watcher that reads from a pipe of ours: when that ends, because the build is given up or because we are killed, the
//! watcher kills the group.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::process::Command;

/// `$1` is the command. It does not get the pipe, which is standard input here.
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

/// Runs it to its end. Dropping the future kills all that it has started.
pub(super) async fn run(command: &str, directory: &Path) -> io::Result<ExitStatus> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", WATCHED, "sh", command]).current_dir(directory).process_group(0).kill_on_drop(true);
    // Standard output is for what the local stack has to say.
    let output = || io::stderr().as_fd().try_clone_to_owned().map(Stdio::from);
    let mut child = shell.stdin(Stdio::piped()).stdout(output()?).stderr(output()?).spawn()?;
    // Taken out of the child, because waiting would close it.
    let _pipe = child.stdin.take();
    child.wait().await
}

/// The program that a command begins with, if the shell does not find it.
pub(super) async fn not_found(command: &str, directory: &Path) -> io::Result<Option<String>> {
    let Some(program) = command.split_whitespace().next() else { return Ok(None) };
    // What is not a plain word is for the shell to understand, and to complain about.
    if !program.chars().all(|c| c.is_ascii_alphanumeric() || "._-/+".contains(c)) {
        return Ok(None);
    }
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"command -v "$1""#, "sh", program]).current_dir(directory);
    let status = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await?;
    Ok((!status.success()).then(|| program.to_owned()))
}
