//! From a template to a running stack, and back to nothing.
//!
//! Two listeners: the public one at the port that was asked for, and one at a free port for the functions: Runtime API,
//! services, management API. So that when the stack stops, the public one can close while what runs finishes its work.
//!
//! Stopping: no new clients and no new messages from queues; running requests and batches finish and answer; then the sockets are closed
//! and their `$disconnect`s run; then the processes end. What does not finish in time comes back at the next start.

mod data_dir;
mod environment;
mod http_apis;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::addresses::Addresses;
use crate::aws::dynamodb::DynamoDb;
use crate::aws::faults::Faults;
use crate::aws::meter::Meter;
use crate::aws::queues::{Queues, Source};
use crate::aws::remote::Remote;
use crate::aws::{self, Services};
use crate::http_api;
use crate::invoke::{InvokeEndpoint, InvokeError, Invoker};
use crate::oidc::Issuer;
use crate::options::Options;
use crate::s3::S3;
use crate::site::{self, Site};
use crate::state::State;
use crate::websocket::registry::Registry;
use crate::websocket::{self, Api, Limits};
use data_dir::DataDir;
use environment::S3Addresses;
use samovar_host::event_source::{self, EventSource};
use samovar_host::schedule::{self, Schedule};
use samovar_host::{FunctionSpec, Host};
use samovar_sqs::{Sqs, Storage, SystemClock};
use samovar_template::{Function, Locals, Template};

const REGION: &str = "us-east-1";
const ACCOUNT_ID: &str = "000000000000";
const STACK_NAME: &str = "local";
/// Lambda's default limit on all functions of an account together.
const ACCOUNT_CONCURRENCY: u32 = 1000;
/// Where an event source declares no maximum, what is left to it is the account's.
const UNLIMITED_SOURCE: u32 = ACCOUNT_CONCURRENCY;

/// From a signal to the last process.
const STOP_TIME: Duration = Duration::from_secs(10);
/// Of it, what is kept for closing sockets and ending processes.
const STOP_RESERVE: Duration = Duration::from_secs(3);

/// A running stack.
#[derive(Debug)]
pub struct Stack {
    url: String,
    websocket_url: Option<String>,
    apis: Vec<Arc<Api>>,
    http_apis: Vec<Arc<http_api::Api>>,
    services: Arc<Services>,
    host: Option<Host>,
    sources: Vec<JoinHandle<()>>,
    stop_sources: CancellationToken,
    stop_public: CancellationToken,
    stop_internal: CancellationToken,
    servers: TaskTracker,
    _data_dir: Option<DataDir>,
}

impl Stack {
    /// Starts everything; returns when it can be used.
    ///
    /// # Errors
    /// One sentence on what is wrong and what to do, or the template's problems with their lines.
    pub async fn start(options: &Options) -> Result<Self> {
        let public = listen(options.port).await?;
        let internal = listen(0).await?;
        let (port, internal_port) = (public.local_addr()?.port(), internal.local_addr()?.port());
        let url = format!("http://127.0.0.1:{port}");
        let issuer_url = format!("{url}/_local/oidc");
        let sqs_url = options.sqs_url().map_or_else(|| format!("{url}{}/sqs", aws::PATH), str::to_owned);
        let locals = Locals {
            stack_name: STACK_NAME.to_owned(),
            region: REGION.to_owned(),
            account_id: ACCOUNT_ID.to_owned(),
            sqs_url: sqs_url.clone(),
            issuer: issuer_url.clone(),
        };
        let overrides: BTreeMap<String, String> = options.params.iter().cloned().collect();
        let template = samovar_template::load(&options.template, &overrides, &locals)?;

        let data_dir = if options.ephemeral { None } else { Some(DataDir::open(&options.data_dir)?) };
        let data_path = data_dir.as_ref().map(DataDir::path);
        let client_id = template.user_pool_clients.first().map_or("local", String::as_str);
        let issuer = Issuer::open(&issuer_url, client_id, data_path)?;
        let services = open_services(options, &template, data_path, &sqs_url).await?;

        let s3_url = options.s3_url().unwrap_or(&url);

        let servers = TaskTracker::new();
        let stop_internal = CancellationToken::new();
        let internal_url = format!("http://127.0.0.1:{internal_port}");
        let site = site(&template, s3_url, &url, options);
        let functions = build(&template.functions, options);
        // Side by side. If the functions do not build, the site is given up.
        let (programs, site) = tokio::try_join!(functions, async { Ok(site.await) })?;
        let (host, invoker): (Option<Host>, Arc<dyn Invoker>) = match &options.invoke_endpoint {
            Some(endpoint) => (None, Arc::new(InvokeEndpoint::new(endpoint))),
            None => {
                let s3 = S3Addresses { own: options.s3_url().unwrap_or(&internal_url), public: s3_url };
                let specs = function_specs(&template, &programs, &internal_url, &s3)?;
                let runtime_api = format!("127.0.0.1:{internal_port}");
                let host = Host::new(specs, runtime_api, REGION.to_owned(), ACCOUNT_CONCURRENCY);
                (Some(host.clone()), Arc::new(host))
            }
        };
        let domain = format!("127.0.0.1:{port}");
        let apis = websocket_apis(&template, options, &domain, &invoker)?;
        let http_apis = http_apis::http_apis(&template, &domain, ACCOUNT_ID, &invoker)?;
        // Functions, too, may call the APIs, and need an address of them that is still there while the stack stops.
        let http_router = http_api::router(http_apis.clone());
        let every_api = websocket::router_before(apis.clone(), http_router.clone());
        let with_site =
            websocket::router_before(apis.clone(), site::router_before(site, http_apis.clone(), http_router));

        let internal_router = host.as_ref().map_or_else(Router::new, Host::router).merge(services.router());
        let internal_router = internal_router.fallback_service(every_api);
        servers.spawn(crate::server::serve(internal, internal_router, stop_internal.clone()));

        let stop_sources = CancellationToken::new();
        let sources = start_sources(&template, &services, &invoker, &stop_sources);

        let state = Arc::new(State {
            views: template.local_state.clone(),
            apis: apis.clone(),
            services: Arc::clone(&services),
            host: host.clone(),
        });
        let s3 = S3Addresses { own: s3_url, public: s3_url };
        let dotenv = environment::dotenv(&template, &url, &s3, REGION);
        let public_router = Router::new()
            .route("/_local/health", get(|| async { Json(json!({ "status": "ok" })) }))
            .route("/_local/state", get(snapshot).with_state(state))
            .route("/_local/environment", get(move || async move { dotenv }))
            .merge(Arc::new(issuer).router())
            .merge(services.router())
            .fallback_service(with_site);
        let stop_public = CancellationToken::new();
        servers.spawn(crate::server::serve(public, public_router, stop_public.clone()));
        let dynamodb = Arc::clone(&services);
        let stop_sweep = stop_internal.clone();
        servers.spawn(async move { dynamodb.dynamodb.sweep(stop_sweep).await });
        let (objects, stop_sweep) = (Arc::clone(&services), stop_internal.clone());
        servers.spawn(async move {
            if let Some(s3) = &objects.s3 {
                s3.sweep(stop_sweep).await;
            }
        });
        servers.close();

        let websocket_url = apis.first().map(|api| format!("ws://127.0.0.1:{port}/{}", api.spec.stage));
        Ok(Self {
            url,
            websocket_url,
            apis,
            http_apis,
            services,
            host,
            sources,
            stop_sources,
            stop_public,
            stop_internal,
            servers,
            _data_dir: data_dir,
        })
    }

    /// What tells a program that the stack can be used.
    pub fn ready_line(&self) -> String {
        let mut line = json!({ "ready": true, "url": self.url });
        if let Some(url) = &self.websocket_url {
            line["websocketUrl"] = url.as_str().into();
        }
        line.to_string()
    }

    /// Stops in order, within ten seconds; at once when `hurry` completes.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        let deadline = Instant::now() + STOP_TIME;
        self.stop_public.cancel();
        self.stop_sources.cancel();
        let orderly = async {
            let batches = futures_util::future::join_all(self.sources);
            let requests = futures_util::future::join_all(self.http_apis.iter().map(|api| api.shutdown()));
            let (batches, requests) = tokio::join!(
                timeout_at(deadline - STOP_RESERVE, batches),
                timeout_at(deadline - STOP_RESERVE, requests)
            );
            if batches.is_err() {
                tracing::warn!("Running batches are cut off, their messages come back");
            }
            if requests.is_err() {
                tracing::warn!("Running requests are cut off");
            }
            let closing = futures_util::future::join_all(self.apis.iter().map(|api| api.shutdown()));
            if timeout_at(deadline - STOP_RESERVE / 3, closing).await.is_err() {
                tracing::warn!("Connections are cut off before their $disconnect has run");
            }
        };
        let grace = tokio::select! {
            () = orderly => deadline.saturating_duration_since(Instant::now()) / 2,
            () = hurry => Duration::ZERO,
        };
        if let Some(host) = &self.host {
            host.shutdown(grace).await;
        }
        self.stop_internal.cancel();
        // Long polls of clients may still be open: the process's end closes them.
        let _ = timeout_at(deadline, self.servers.wait()).await;
        self.services.queues.close().await;
        if let Some(s3) = &self.services.s3 {
            s3.close();
        }
    }
}

async fn listen(port: u16) -> Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("Port {port} is taken; choose another with --port N, or a free one with --port 0")
        }
        _ => anyhow::Error::new(error).context(format!("Port {port} can't be listened on")),
    })
}

async fn open_services(
    options: &Options,
    template: &Template,
    data_dir: Option<&std::path::Path>,
    sqs_url: &str,
) -> Result<Arc<Services>> {
    let dynamodb = match options.dynamodb_url() {
        Some(url) => DynamoDb::Remote(Remote::new(url, "DynamoDB_20120810", "dynamodb", REGION)),
        None => DynamoDb::open(data_dir)?,
    };
    let queues = match options.sqs_url() {
        Some(url) => Queues::Remote(Remote::new(url, "AmazonSQS", "sqs", REGION)),
        None => {
            let storage = data_dir.map_or(Storage::Memory, |dir| Storage::File(dir.join("sqs.sqlite")));
            Queues::Embedded(Sqs::open(storage, REGION, ACCOUNT_ID, sqs_url, Arc::new(SystemClock))?)
        }
    };
    let s3 = match options.s3_url() {
        Some(url) => {
            aws::remote::make_buckets(url, &template.buckets, REGION).await;
            None
        }
        None => {
            let callers = template.functions.iter().map(|function| function.name.as_str());
            let callers = callers.chain([environment::INVOKE_ENDPOINT]);
            Some(S3::open(data_dir, &template.buckets, callers, options.lifecycle_day)?)
        }
    };
    dynamodb.create(&template.tables).await?;
    queues.create(&template.queues).await?;
    Ok(Arc::new(Services { dynamodb, queues, s3, meter: Meter::default(), faults: Faults::default() }))
}

/// The functions' programs; none where functions run elsewhere.
async fn build(functions: &[Function], options: &Options) -> Result<BTreeMap<String, PathBuf>> {
    if options.invoke_endpoint.is_some() {
        return Ok(BTreeMap::new());
    }
    let wanted: Vec<_> =
        functions.iter().map(|function| (function.code_dir.clone(), function.binary.clone())).collect();
    Ok(crate::build::build(&wanted, options.release).await?)
}

async fn site(template: &Template, s3_url: &str, url: &str, options: &Options) -> Option<Arc<Site>> {
    let spec = template.static_site.clone()?;
    let addresses = Addresses::of(template, s3_url, REGION);
    Some(Arc::new(Site::open(spec, addresses, url, !options.no_site_build).await))
}

fn function_specs(
    template: &Template,
    programs: &BTreeMap<String, PathBuf>,
    internal_url: &str,
    s3: &S3Addresses<'_>,
) -> Result<Vec<FunctionSpec>> {
    let spec = |function: &Function| {
        let program = programs.get(&function.binary).cloned();
        Ok(FunctionSpec {
            name: function.name.clone(),
            arn: function.arn.clone(),
            program: program.with_context(|| format!("cargo made no program for {}", function.name))?,
            args: Vec::new(),
            memory_mb: function.memory_mb,
            timeout: function.timeout,
            concurrency: function.reserved_concurrency,
            environment: environment::of(function, template, internal_url, s3, REGION)
                .into_iter()
                .chain(environment::passed_on(function))
                .collect(),
        })
    };
    template.functions.iter().map(spec).collect()
}

fn websocket_apis(
    template: &Template,
    options: &Options,
    domain: &str,
    invoker: &Arc<dyn Invoker>,
) -> Result<Vec<Arc<Api>>> {
    let mut apis: Vec<Arc<Api>> = Vec::new();
    for spec in &template.websocket_apis {
        if apis.iter().any(|api| api.spec.stage == spec.stage) {
            bail!("Two WebSocket APIs have the stage {}; here the stage is the path, so they must differ", spec.stage);
        }
        if template.buckets.iter().any(|bucket| bucket.name == spec.stage) {
            bail!("A bucket has the name of the stage {}; here both are paths, so they must differ", spec.stage);
        }
        let limits = Limits { idle: options.websocket_idle, life: options.websocket_life, ..Limits::default() };
        apis.push(Arc::new(Api {
            spec: spec.clone(),
            domain: domain.to_owned(),
            region: REGION.to_owned(),
            account_id: ACCOUNT_ID.to_owned(),
            limits,
            invoker: Arc::clone(invoker),
            registry: Registry::default(),
            tasks: TaskTracker::new(),
        }));
    }
    Ok(apis)
}

fn start_sources(
    template: &Template,
    services: &Arc<Services>,
    invoker: &Arc<dyn Invoker>,
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let mut running = Vec::new();
    for function in &template.functions {
        for source in function.event_sources.iter().filter(|source| source.enabled) {
            let url = template.queues.iter().find(|queue| queue.name == source.queue).map(|queue| queue.url.clone());
            let queue =
                Source { queues: services.queues.clone(), name: source.queue.clone(), url: url.unwrap_or_default() };
            let mapping = EventSource {
                function: function.name.clone(),
                queue_arn: source.queue_arn.clone(),
                region: REGION.to_owned(),
                batch_size: source.batch_size as usize,
                maximum_batching_window: source.maximum_batching_window,
                maximum_concurrency: source.maximum_concurrency.unwrap_or(UNLIMITED_SOURCE) as usize,
                report_batch_item_failures: source.report_batch_item_failures,
            };
            let invoke = invoking(invoker, function);
            running.push(event_source::start(mapping, queue, invoke, stop.clone()));
        }
    }
    for function in &template.functions {
        for due in function.schedules.iter().filter(|schedule| schedule.enabled) {
            let schedule = Schedule {
                function: function.name.clone(),
                name: due.logical_id.clone(),
                every: due.every,
                input: due.input.clone(),
                region: REGION.to_owned(),
                account_id: ACCOUNT_ID.to_owned(),
            };
            running.push(tokio::spawn(schedule::run(schedule, invoking(invoker, function), stop.clone())));
        }
    }
    running
}

/// A function, as those call it who need no other.
fn invoking(
    invoker: &Arc<dyn Invoker>,
    function: &Function,
) -> impl Fn(Bytes) -> BoxFuture<'static, Result<Bytes, InvokeError>> + Send + Sync + 'static {
    let (invoker, name) = (Arc::clone(invoker), function.name.clone());
    move |payload| {
        let (invoker, name) = (Arc::clone(&invoker), name.clone());
        Box::pin(async move { invoker.invoke(&name, payload).await })
    }
}

async fn snapshot(Shared(state): Shared<Arc<State>>) -> Response {
    match state.snapshot().await {
        Ok(snapshot) => Json(snapshot).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "message": format!("{error:#}") }))).into_response()
        }
    }
}
