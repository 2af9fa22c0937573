//! The functions of a stack: built and run here, or invoked elsewhere; and their event sources and schedules.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use samovar_host::event_source::{self, EventSource, Filter};
use samovar_host::schedule::{self, Schedule, Service};
use samovar_host::{FunctionSpec, Host};
use samovar_services::event_queues::EventQueues;
use samovar_services::targets::Targets;
use samovar_services::{Credentials, Services};
use samovar_template::{Function, Scheduler, Template};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::environment::{self, Endpoints};
use super::source::Source;
use super::urls::Urls;
use super::{ACCOUNT_ID, REGION};
use crate::asynchronous::Asynchronous;
use crate::build::{Builder, Built, Debugged};
use crate::clock::now_ms;
use crate::invoke::{IntegrationError, InvokeEndpoint, Invoker};
use crate::options::Options;
use crate::proxy;
use crate::tls::Trust;

/// Lambda's default limit on all functions of an account together.
const ACCOUNT_CONCURRENCY: u32 = 1000;
/// The maximum of an event source that declares none: the account's limit.
const UNLIMITED_SOURCE: u32 = ACCOUNT_CONCURRENCY;

/// The functions as they are built at the start, by their names, and the builder.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    pub(super) builder: Arc<Builder>,
    pub(super) built: BTreeMap<String, Built>,
    /// When their build began, in epoch milliseconds.
    pub(super) began_ms: i64,
}

/// Builds the functions, or nothing if they run elsewhere.
pub(super) async fn build(functions: &[Function], debugged: Option<Debugged>, options: &Options) -> Result<Programs> {
    let builder = Builder::new(options.release, options.watch).context("The folder for builds could not be made")?;
    let builder = builder.debugging(debugged);
    let wanted: Vec<_> = functions.iter().filter(|_| options.invoke_endpoint.is_none()).collect();
    let began_ms = now_ms();
    let built = builder.build(&wanted).await?;
    Ok(Programs { builder: Arc::new(builder), built, began_ms })
}

/// The invoker of the functions, and the host if they run here.
pub(super) fn run(
    template: &Template,
    programs: &Programs,
    options: &Options,
    urls: &Urls,
    credentials: Option<&Credentials>,
    trust: Option<&Trust>,
) -> Result<(Option<Host>, Arc<dyn Invoker>)> {
    Ok(match &options.invoke_endpoint {
        Some(endpoint) => (None, Arc::new(InvokeEndpoint::new(endpoint))),
        None => {
            let specs = specs(template, programs, urls, credentials, trust)?;
            let host = Host::new(specs, REGION.to_owned(), ACCOUNT_CONCURRENCY);
            (Some(host.clone()), Arc::new(host))
        }
    })
}

fn specs(
    template: &Template,
    programs: &Programs,
    urls: &Urls,
    credentials: Option<&Credentials>,
    trust: Option<&Trust>,
) -> Result<Vec<FunctionSpec>> {
    let endpoints = Endpoints { s3: &urls.functions_s3, public_s3: &urls.s3, others: urls.others.as_deref() };
    let spec = |function: &Function| {
        let built = programs.built.get(&function.name);
        let built = built.with_context(|| format!("There is no program for {}", function.name))?;
        // Without certificates, a tunnel to a name of AWS would lead to nobody.
        let mut environment = trust.map(|_| proxy::variables(function, &urls.internal)).unwrap_or_default();
        environment.extend(environment::of(function, template, &urls.internal, &endpoints, REGION, credentials, trust));
        environment.extend(environment::passed_on(function));
        Ok(FunctionSpec {
            name: function.name.clone(),
            function_name: function.function_name.clone(),
            arn: function.arn.clone(),
            runtime: function.runtime.clone(),
            handler: function.handler.clone(),
            code: built.code.clone(),
            memory_mb: function.memory_mb,
            timeout: function.timeout,
            concurrency: function.reserved_concurrency,
            environment,
            own_credentials: credentials.is_none(),
            debug: built.debug,
        })
    };
    template.functions.iter().map(spec).collect()
}

/// Polls queues and runs schedules for the functions, until `stop`.
pub(super) fn start_sources(
    template: &Template,
    services: &Arc<Services>,
    invoker: &Arc<dyn Invoker>,
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let mut running = Vec::new();
    for function in &template.functions {
        for source in function.event_sources.iter().filter(|source| source.enabled) {
            let url = template.queues.iter().find(|queue| queue.name == source.queue).map(|queue| queue.url.clone());
            let queue = Source {
                queues: services.queues.clone(),
                name: source.queue.clone(),
                url: url.unwrap_or_default(),
                function: function.name.clone(),
                door: services.door().clone(),
            };
            let mapping = EventSource {
                function: function.name.clone(),
                queue_arn: source.queue_arn.clone(),
                region: REGION.to_owned(),
                batch_size: source.batch_size as usize,
                maximum_batching_window: source.maximum_batching_window,
                maximum_concurrency: source.maximum_concurrency.unwrap_or(UNLIMITED_SOURCE) as usize,
                report_batch_item_failures: source.report_batch_item_failures,
                filter: Filter(source.filters.clone()),
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
                expression: due.expression.clone(),
                time_zone: due.time_zone.clone(),
                input: due.input.clone(),
                service: match due.scheduler {
                    Scheduler::Rule => Service::Rule,
                    Scheduler::Scheduler => Service::Scheduler,
                },
                region: REGION.to_owned(),
                account_id: ACCOUNT_ID.to_owned(),
            };
            running.push(tokio::spawn(schedule::run(schedule, invoking(invoker, function), stop.clone())));
        }
    }
    running
}

/// Invokes the functions with the events of their queues, until `stop`.
pub(super) fn start_asynchronous(
    template: &Template,
    (events, targets): (&EventQueues, &Targets),
    invoker: &Arc<dyn Invoker>,
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let start = |function: &Function| {
        let (events, targets, invoker) = (events.clone(), targets.clone(), Arc::clone(invoker));
        Asynchronous::new(function, ACCOUNT_CONCURRENCY, events, targets, invoker).start(stop.clone())
    };
    template.functions.iter().map(start).collect()
}

/// A function as event sources and schedules call it.
fn invoking(
    invoker: &Arc<dyn Invoker>,
    function: &Function,
) -> impl Fn(Bytes) -> BoxFuture<'static, Result<Bytes, IntegrationError>> + Send + Sync + 'static {
    let (invoker, name) = (Arc::clone(invoker), function.name.clone());
    move |payload| {
        let (invoker, name) = (Arc::clone(&invoker), name.clone());
        Box::pin(async move { invoker.invoke(&name, payload).await })
    }
}
