//! A function: its program, limits, permissions and events.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use samovar_eventbridge::{Pattern, TimeZone};

use super::{Cors, EventInvokeConfig, EventRule};

/// `AWS::Serverless::Function` or `AWS::Lambda::Function`.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Its name in the template.
    pub logical_id: String,
    /// The name in logs, state and invoke URLs: that of its binary if no other function has the binary, else the
    /// logical id. It is unique in a template.
    pub name: String,
    /// The function's name on AWS: `FunctionName`, or stack and logical id.
    pub function_name: String,
    /// As `!GetAtt Function.Arn` gives it.
    pub arn: String,
    /// The place of the code.
    pub code: Code,
    /// `CodeUri` against the template's folder; that folder itself, if the code is in no folder.
    pub code_dir: PathBuf,
    /// `Runtime`, for example `provided.al2023`, `nodejs22.x` or `python3.13`. Empty for a container image.
    pub runtime: String,
    /// `Handler`. Empty for a container image.
    pub handler: String,
    /// `Metadata.BuildMethod`.
    pub build_method: BuildMethod,
    /// `Metadata.BuildProperties.Binary` of `rust-cargolambda`. Without it the package has one binary.
    pub binary: Option<String>,
    /// `MemorySize`.
    pub memory_mb: u32,
    /// `Timeout`.
    pub timeout: Duration,
    /// `ReservedConcurrentExecutions`.
    pub reserved_concurrency: Option<u32>,
    /// `Environment.Variables`, resolved.
    pub environment: BTreeMap<String, String>,
    /// `Metadata.LocalEnvironment`: variables that the function inherits from the environment of the local stack, if
    /// set there.
    pub local_environment: Vec<String>,
    /// Policy documents: inline ones, those of managed policies and of its role in the template, the statements of
    /// policy templates, and what SAM adds for a queue.
    pub policies: Vec<serde_json::Value>,
    /// Its events of type `SQS`, and event source mappings for queues.
    pub event_sources: Vec<SqsEventSource>,
    /// Its events of the types `Schedule` and `ScheduleV2`.
    pub schedules: Vec<Schedule>,
    /// The rules of EventBridge for its events of the types `EventBridgeRule` and `CloudWatchEvent`.
    pub rules: Vec<EventRule>,
    /// Its other events.
    pub triggers: Vec<Trigger>,
    /// Its asynchronous invocations.
    pub event_invoke: EventInvokeConfig,
    /// `FunctionUrlConfig`, or an `AWS::Lambda::Url`.
    pub url: Option<FunctionUrl>,
}

/// The place of a function's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// A folder, or an archive: [`Function::code_dir`].
    Folder,
    /// `InlineCode`: the text of the one module, which is called `index`.
    Inline(String),
    /// A container image, with its name if the template gives one. The build is described in `Metadata`.
    Image(Option<String>),
    /// A place that is not on this machine.
    Elsewhere(String),
}

/// How a function's code is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildMethod {
    /// `rust-cargolambda`.
    RustCargoLambda,
    /// `makefile`: `make build-LOGICALID`.
    Makefile,
    /// `go1.x`, or a runtime `provided.*` and a folder with a `go.mod`.
    Go,
    /// `esbuild`.
    Esbuild(Esbuild),
    /// The method of this name, for example `dotnet7`.
    Other(String),
    /// None is given: the runtime's own way, or a program that is there already.
    None,
}

/// `Metadata.BuildProperties` of the BuildMethod `esbuild`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Esbuild {
    /// `EntryPoints`: files below the function's folder.
    pub entry_points: Vec<String>,
    /// `External`: packages that stay outside of the result.
    pub external: Vec<String>,
    /// `Format`: `cjs`, `esm` or `iife`.
    pub format: Option<String>,
    /// `Loader`, for example `.png=dataurl`.
    pub loader: Vec<String>,
    /// `MainFields`, with commas between them.
    pub main_fields: Option<String>,
    /// `Minify`, by default true.
    pub minify: bool,
    /// `OutExtension`, for example `.js=.mjs`.
    pub out_extension: Vec<String>,
    /// `Target`, by default `es2020`.
    pub target: String,
}

/// `FunctionUrlConfig` or `AWS::Lambda::Url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionUrl {
    /// The logical id of the `AWS::Lambda::Url` in lower case, which is part of the host name.
    pub id: String,
    /// Whether requests must be signed with AWS credentials: `AuthType` is `AWS_IAM`.
    pub iam_authorization: bool,
    /// `Cors`.
    pub cors: Option<Cors>,
    /// Whether answers are streamed: `InvokeMode` is `RESPONSE_STREAM`.
    pub streaming: bool,
}

/// An event that invokes a function, of a kind that does not poll a queue or follow a schedule.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// Notifications of a bucket.
    S3 {
        /// [`Bucket::name`](super::Bucket::name)
        bucket: String,
        /// For example `s3:ObjectCreated:*`.
        events: Vec<String>,
        /// The beginning of the keys.
        prefix: String,
        /// The end of the keys.
        suffix: String,
    },
    /// Messages of a topic.
    Sns {
        /// [`Topic::arn`](super::Topic::arn)
        topic: String,
        /// `FilterPolicy`.
        filter_policy: Option<serde_json::Value>,
        /// Whether the policy is for the body, and not for the attributes: `FilterPolicyScope` is `MessageBody`.
        filter_by_body: bool,
    },
    /// The stream of a table.
    DynamoDb(StreamEventSource),
}

/// An event of type `DynamoDB`, or an event source mapping for the stream of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEventSource {
    /// The id that SAM generates: the function's logical id and the event's name.
    pub logical_id: String,
    /// [`Table::name`](super::Table::name)
    pub table: String,
    /// [`Table::stream_arn`](super::Table::stream_arn)
    pub stream_arn: String,
    /// `StartingPosition` is `TRIM_HORIZON`: the stream is read from its oldest record.
    pub from_beginning: bool,
    /// `BatchSize`.
    pub batch_size: u32,
    /// `MaximumBatchingWindowInSeconds`.
    pub maximum_batching_window: Duration,
    /// `BisectBatchOnFunctionError`.
    pub bisect_batch_on_function_error: bool,
    /// `MaximumRetryAttempts`; none for -1, which is no limit.
    pub maximum_retry_attempts: Option<u32>,
    /// `MaximumRecordAgeInSeconds`; none for -1, which is no limit.
    pub maximum_record_age: Option<Duration>,
    /// `FunctionResponseTypes` has `ReportBatchItemFailures`.
    pub report_batch_item_failures: bool,
    /// The ARN in `DestinationConfig.OnFailure`: of a queue or a topic of the template.
    pub on_failure: Option<String>,
    /// The patterns of `FilterCriteria`. A record matches any of them; without patterns all do.
    pub filters: Vec<Pattern>,
    /// `Enabled`.
    pub enabled: bool,
}

/// The service that keeps a schedule. Their events differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduler {
    /// A rule of EventBridge: events of type `Schedule`.
    Rule,
    /// EventBridge Scheduler: events of type `ScheduleV2`.
    Scheduler,
}

/// An event of the types `Schedule` and `ScheduleV2`, or an `AWS::Scheduler::Schedule`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The id that SAM generates: the function's logical id and the event's name; or the schedule's own name.
    pub logical_id: String,
    /// The service.
    pub scheduler: Scheduler,
    /// `ScheduleExpression`.
    pub expression: samovar_eventbridge::Schedule,
    /// `ScheduleExpressionTimezone`, by default UTC.
    pub time_zone: TimeZone,
    /// The event as JSON. Without it the scheduler sends its own event.
    pub input: Option<String>,
    /// `State` or `Enabled`.
    pub enabled: bool,
}

/// An event of type `SQS`.
#[derive(Debug, Clone, PartialEq)]
pub struct SqsEventSource {
    /// The id that SAM generates: the function's logical id and the event's name.
    pub logical_id: String,
    /// The queue's name.
    pub queue: String,
    /// The queue's ARN.
    pub queue_arn: String,
    /// `BatchSize`.
    pub batch_size: u32,
    /// `MaximumBatchingWindowInSeconds`.
    pub maximum_batching_window: Duration,
    /// `FunctionResponseTypes` has `ReportBatchItemFailures`.
    pub report_batch_item_failures: bool,
    /// `ScalingConfig.MaximumConcurrency`.
    pub maximum_concurrency: Option<u32>,
    /// The patterns of `FilterCriteria`. A message matches any of them; without patterns all do.
    pub filters: Vec<Pattern>,
    /// `Enabled`.
    pub enabled: bool,
}
