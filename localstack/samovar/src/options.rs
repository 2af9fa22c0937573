//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};

/// What holds where the command line says nothing.
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

/// Runs a SAM template on this machine: WebSocket and HTTP APIs, functions, queues, tables and buckets.
#[derive(Debug, Clone, Parser)]
#[command(version, about, max_term_width = 110)]
pub struct Options {
    /// Listen on 127.0.0.1 at this port; 0 picks a free one
    #[arg(long, value_name = "N", default_value_t = 8000)]
    pub port: u16,

    /// Where tables, objects and queues are kept
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    pub data_dir: PathBuf,

    /// Keep nothing: tables and queues in memory, objects in a temporary directory
    #[arg(long)]
    pub ephemeral: bool,

    /// Override a parameter of the template; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    pub params: Vec<(String, String)>,

    /// The template to run
    #[arg(long, value_name = "FILE")]
    pub template: PathBuf,

    /// Invoke functions there, e.g. `cargo lambda watch` at <http://127.0.0.1:9000>, instead of running them here
    #[arg(long, value_name = "URL", value_parser = url)]
    pub invoke_endpoint: Option<String>,

    /// Use a running emulator instead of the embedded services
    #[arg(long, value_name = "URL", value_parser = url)]
    pub aws_endpoint_url: Option<String>,

    /// Use a running emulator instead of the embedded `DynamoDB`
    #[arg(long, value_name = "URL", value_parser = url)]
    pub dynamodb_endpoint_url: Option<String>,

    /// Use a running emulator instead of the embedded SQS
    #[arg(long, value_name = "URL", value_parser = url)]
    pub sqs_endpoint_url: Option<String>,

    /// Use a running emulator instead of the embedded S3
    #[arg(long, value_name = "URL", value_parser = url)]
    pub s3_endpoint_url: Option<String>,

    /// Build the functions with the release profile
    #[arg(long)]
    pub release: bool,

    /// Serve the static site of the template as it is, without building it
    #[arg(long, hide_short_help = true)]
    pub no_site_build: bool,

    /// Close a WebSocket without messages for this long (API Gateway: 600), to rehearse it
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds, hide_short_help = true)]
    pub websocket_idle: Duration,

    /// Close a WebSocket after this long (API Gateway: 7200), to rehearse it
    #[arg(long, value_name = "SECONDS", default_value = "7200", value_parser = seconds, hide_short_help = true)]
    pub websocket_life: Duration,

    /// How long a day of lifecycle rules lasts (S3: 86400), to rehearse them
    #[arg(long, value_name = "SECONDS", default_value = "86400", value_parser = seconds, hide_short_help = true)]
    pub lifecycle_day: Duration,
}

impl Options {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// Bad arguments; also `--help` and `--version`, whose text the error has. [`clap::Error::exit`] does what is to be done.
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
