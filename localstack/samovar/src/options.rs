//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// The values of options that the command line does not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// `--data-dir`.
    pub data_dir: &'static str,
    /// `--template`.
    pub template: &'static str,
}

impl Default for Defaults {
    /// `.samovar`, and the `template.yaml` of the current folder, or its `template.yml`.
    fn default() -> Self {
        let yml = !Path::new("template.yaml").exists() && Path::new("template.yml").exists();
        Self { data_dir: ".samovar", template: if yml { "template.yml" } else { "template.yaml" } }
    }
}

/// Runs a SAM template on this machine: WebSocket, HTTP and REST APIs, functions, queues, tables and buckets
#[derive(Debug, Clone, Parser)]
#[command(version, about, max_term_width = 110, args_conflicts_with_subcommands = true)]
pub struct Options {
    /// Something else to do than running a template.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Listen on 127.0.0.1 at this port; 0 picks a free one
    #[arg(long, value_name = "N", default_value_t = 8000)]
    pub port: u16,

    /// Keep tables, objects and queues in this directory
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    pub data_dir: PathBuf,

    /// Answer to this host name too, for a tunnel or a container; may be repeated
    #[arg(long = "allow-host", value_name = "NAME", value_parser = host_name)]
    pub allowed_hosts: Vec<String>,

    /// Keep nothing after the end: tables and queues are in memory, objects in a temporary directory
    #[arg(long)]
    pub ephemeral: bool,

    /// Override a parameter of the template; can be given several times
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    pub params: Vec<(String, String)>,

    /// The template to run
    #[arg(long, value_name = "FILE")]
    pub template: PathBuf,

    /// Run what can run, and give placeholders to references to what is not here
    #[arg(long)]
    pub allow_missing: bool,

    /// Invoke the functions at this URL instead of running them, for example with cargo lambda watch at port 9000
    #[arg(long, value_name = "URL", value_parser = url)]
    pub invoke_endpoint: Option<String>,

    /// Use a running emulator of AWS at this URL instead of the embedded services
    #[arg(long, value_name = "URL", value_parser = url)]
    pub aws_endpoint_url: Option<String>,

    /// Use a running emulator at this URL instead of the embedded DynamoDB
    #[arg(long, value_name = "URL", value_parser = url)]
    pub dynamodb_endpoint_url: Option<String>,

    /// Use a running emulator at this URL instead of the embedded SQS
    #[arg(long, value_name = "URL", value_parser = url)]
    pub sqs_endpoint_url: Option<String>,

    /// Use a running emulator at this URL instead of the embedded S3
    #[arg(long, value_name = "URL", value_parser = url)]
    pub s3_endpoint_url: Option<String>,

    /// Build the functions with the release profile
    #[arg(long)]
    pub release: bool,

    /// Build a function again when one of its sources is saved, and run its next invocation in the new code
    #[arg(long, conflicts_with = "invoke_endpoint")]
    pub watch: bool,

    /// Let this function wait for a debugger, in one process and without time-outs
    #[arg(long, value_name = "FUNCTION", conflicts_with = "invoke_endpoint")]
    pub debug: Option<String>,

    /// Let the debugger of a function in Python or JavaScript connect at this port; otherwise at 5678 or 9229
    #[arg(long, value_name = "N", requires = "debug")]
    pub debug_port: Option<u16>,

    /// Kill processes and let calls to services fail, about one in a hundred, as this number decides
    #[arg(long, value_name = "SEED")]
    pub chaos: Option<u64>,

    /// Let calls of functions to services take as long as within an AWS region
    #[arg(long, value_name = "LIKE", value_enum)]
    pub latency: Option<Latency>,

    /// Let functions make all calls, whether or not their policies allow them
    #[arg(long)]
    pub no_iam: bool,

    /// Append each permission to this file when a function uses it for the first time
    #[arg(long, value_name = "FILE", conflicts_with = "no_iam", hide_short_help = true)]
    pub permissions_log: Option<PathBuf>,

    /// Serve the files of the web site as they are, without building them
    #[arg(long, hide_short_help = true)]
    pub no_site_build: bool,

    /// Close a WebSocket after this time without messages (on AWS 600), for tests of idle connections
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds, hide_short_help = true)]
    pub websocket_idle: Duration,

    /// Close a WebSocket after this time (on AWS 7200), for tests of reconnecting
    #[arg(long, value_name = "SECONDS", default_value = "7200", value_parser = seconds, hide_short_help = true)]
    pub websocket_life: Duration,

    /// Let a function have the messages of one WebSocket and route one after the other (on AWS they come at once and
    /// in any order)
    #[arg(long, hide_short_help = true)]
    pub websocket_in_order: bool,

    /// Length of a day in lifecycle rules (on AWS 86400), for tests of expiring objects
    #[arg(long, value_name = "SECONDS", default_value = "86400", value_parser = seconds, hide_short_help = true)]
    pub lifecycle_day: Duration,

    /// Delete expired items of tables this often (on AWS each within days), for tests of items that are still there
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds, hide_short_help = true)]
    pub ttl_every: Duration,
}

/// Something else to do than running a template.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Reads templates and shows everything that is wrong, needed or not run here
    Check(Check),
}

/// Templates to read.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// Templates, and folders in which to look for templates
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,

    /// Override a parameter of the templates; can be given several times
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    pub params: Vec<(String, String)>,

    /// Pass templates of which only a part can run: give placeholders to references to what is not here
    #[arg(long)]
    pub allow_missing: bool,

    /// Show one line a template: whether it passes, and the first reason why not
    #[arg(long)]
    pub table: bool,
}

/// The time of calls to services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Latency {
    /// As in an AWS region, each call by its median: DynamoDB reads 3 ms, writes 5, transactions 9, SQS and
    /// connections 8, S3 20, and 10 more for a process's first call to a service
    Aws,
}

impl Options {
    /// Reads a command line, beginning with the program's name.
    ///
    /// # Errors
    /// Wrong arguments. `--help` and `--version` are errors too, with the text to print. [`clap::Error::exit`] handles
    /// all of them.
    pub fn from_args(
        args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
        defaults: &Defaults,
    ) -> Result<Self, clap::Error> {
        let command = Self::command()
            .mut_arg("data_dir", |arg| arg.required(false).default_value(defaults.data_dir))
            .mut_arg("template", |arg| arg.required(false).default_value(defaults.template));
        let mut matches = command.try_get_matches_from(args)?;
        Self::from_arg_matches_mut(&mut matches)
    }

    pub(crate) fn dynamodb_url(&self) -> Option<&str> {
        self.dynamodb_endpoint_url.as_deref().or(self.aws_endpoint_url.as_deref())
    }

    pub(crate) fn sqs_url(&self) -> Option<&str> {
        self.sqs_endpoint_url.as_deref().or(self.aws_endpoint_url.as_deref())
    }

    pub(crate) fn s3_url(&self) -> Option<&str> {
        self.s3_endpoint_url.as_deref().or(self.aws_endpoint_url.as_deref())
    }
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

fn host_name(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains(['/', ':', '*']) {
        true => Err("write a host name, without scheme and port".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn url(text: &str) -> Result<String, String> {
    if text.starts_with("http://") || text.starts_with("https://") {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("it must start with http:// or https://".to_owned())
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 1e9 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("it must be a positive number of seconds".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_allowed_by_its_name() {
        let parse = |name| Options::from_args(["samovar", "--allow-host", name], &Defaults::default());
        assert_eq!(parse("tunnel.example").unwrap().allowed_hosts, ["tunnel.example"]);
        for name in ["http://tunnel.example", "tunnel.example:80", "*", ""] {
            assert!(parse(name).unwrap_err().to_string().contains("without scheme and port"), "{name}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn the_defaults_hold_where_nothing_is_given() {
        let defaults = Defaults { data_dir: ".data", template: "infra/t.yaml" };
        let options = Options::from_args(["samovar"], &defaults).unwrap();
        assert_eq!((options.data_dir, options.template), (".data".into(), "infra/t.yaml".into()));
        let options = Options::from_args(["samovar", "--ephemeral", "--template", "x"], &defaults).unwrap();
        assert_eq!((options.ephemeral, options.template), (true, "x".into()));
        let error = Options::from_args(["samovar", "--ephemeral", "--data-dir", "x"], &defaults).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_parameter_may_have_an_equals_sign_in_its_value() {
        assert_eq!(parameter("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert!(parameter("A").is_err() && parameter("=b").is_err());
    }

    #[test]
    fn a_services_own_endpoint_goes_before_the_common_one() {
        let parse = |args: &[&str]| Options::from_args(args, &Defaults::default()).unwrap();
        let options = parse(&["samovar", "--aws-endpoint-url", "http://a/", "--sqs-endpoint-url", "http://b"]);
        assert_eq!((options.dynamodb_url(), options.sqs_url()), (Some("http://a"), Some("http://b")));
        assert_eq!(options.s3_url(), Some("http://a"));
        let options = parse(&["samovar", "--s3-endpoint-url", "http://c"]);
        assert_eq!((options.sqs_url(), options.s3_url()), (None, Some("http://c")));
    }
}
