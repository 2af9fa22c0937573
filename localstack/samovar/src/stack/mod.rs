//! Starts everything that a template declares, and stops it again.
//!
//! There are two listeners: the public one at the requested port, and one at a free port for the functions (services,
//! management API). So the public one can close at the stop while running work goes on.
//!
//! The stop goes in this order. New clients and new messages from queues are refused. Running requests and batches
//! finish and answer. Then the sockets are closed and their `$disconnect`s run. Then the processes end. Messages that
//! were not finished in time come back at the next start.

mod data_dir;
mod debug;
mod environment;
mod functions;
mod http_apis;
mod rest_apis;
mod rules;
mod servers;
mod services;
mod source;
mod streams;
#[cfg(test)]
mod tests;
mod unserved;
mod urls;
mod websocket_apis;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use samovar_host::Host;
use samovar_services::Services;
use samovar_services::event_queues::EventQueues;
use samovar_services::permissions::{Account, Permissions};
use samovar_template::{Locals, Template, TemplateError};
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::addresses::Addresses;
use crate::build::Builder;
use crate::chaos::Chaos;
use crate::edge::Edge;
use crate::function_url::Url;
use crate::lambda_api::LambdaApi;
use crate::oidc::Issuer;
use crate::options::{Latency, Options};
use crate::sigv4::Keys;
use crate::site::Site;
use crate::state::State;
use crate::tls::{Tls, Trust};
use crate::watch::watch;
use data_dir::DataDir;
use environment::Endpoints;
use functions::Programs;
use http_apis::http_apis;
use rest_apis::rest_apis;
use servers::{Apis, Servers, Shown};
use services::Opened;
pub(crate) use unserved::{conflicts, unserved};
use urls::Urls;
use websocket_apis::websocket_apis;

const REGION: &str = "us-east-1";
const ACCOUNT_ID: &str = "000000000000";
const STACK_NAME: &str = "local";

/// The time from a signal to the end of the last process.
const STOP_TIME: Duration = Duration::from_secs(10);
/// The part of it that is reserved for closing sockets and ending processes.
const STOP_RESERVE: Duration = Duration::from_secs(3);

/// A running stack.
#[derive(Debug)]
pub struct Stack {
    url: String,
    apis: Apis,
    services: Arc<Services>,
    events: EventQueues,
    host: Option<Host>,
    sources: Vec<JoinHandle<()>>,
    stop_sources: CancellationToken,
    servers: Servers,
    _builder: Arc<Builder>,
    _data_dir: Option<DataDir>,
}

impl Stack {
    /// Starts everything, and returns when the stack can be used.
    ///
    /// # Errors
    /// One sentence that says what is wrong and what to do, or the template's problems with their lines.
    pub async fn start(options: &Options) -> Result<Self> {
        let (public, internal) = (listen(options.port)?, listen(0)?);
        let urls = Urls::of(&public, &internal, options)?;
        let mut template = read_template(options, &urls)?;
        let debugged = debug::apply(&mut template, options)?;
        let data_dir = open_data_dir(options)?;
        let kept_in = data_dir.as_ref().map(DataDir::path);
        let issuer = open_issuer(&template, kept_in, &urls)?;
        let credentials = environment::emulators_credentials(options)?;
        let Opened { services, events, targets } =
            services::open(options, &template, kept_in, &urls, credentials.as_ref()).await?;
        // Both are built at the same time. If the functions do not build, the build of the site is given up.
        let site = async { Ok(build_site(&template, options, &urls).await) };
        let (programs, site) = tokio::try_join!(functions::build(&template.functions, debugged, options), site)?;
        let tls = open_tls();
        let trust = tls.as_ref().map(|(_, trust)| trust);
        let (host, invoker) = functions::run(&template, &programs, options, &urls, credentials.as_ref(), trust)?;
        let chaos = Chaos::new(host.clone(), Arc::clone(&services.faults), kept_in)?;
        let edge = Edge {
            domain: urls.domain.clone(),
            region: REGION.to_owned(),
            account_id: ACCOUNT_ID.to_owned(),
            invoker: Arc::clone(&invoker),
            door: services.door().clone(),
            keys: Keys::of(template.functions.iter().map(|function| function.name.as_str()), credentials.as_ref()),
            issuer: urls.issuer.clone(),
        };
        let apis = Apis {
            websocket: websocket_apis(&template, options, &edge, &services)?,
            http: http_apis(&template, &edge)?,
            rest: rest_apis(&template, &edge)?,
            function_urls: template.functions.iter().filter_map(|it| Some(Arc::new(Url::of(it, &edge)?))).collect(),
        };

        let servers = Servers { tls: tls.as_ref().map(|(tls, _)| Arc::clone(tls)), ..Servers::default() };
        let stop_sources = CancellationToken::new();
        // Before functions and clients can write to the tables.
        let streams = streams::start(&template, &services, kept_in, &invoker, &stop_sources).await?;
        let lambda = LambdaApi::new(
            &template.functions,
            account(),
            Arc::clone(&invoker),
            services.door().clone(),
            events.clone(),
        );
        let lambda = Arc::new(lambda).router();
        servers.serve_functions(internal, &services, &apis, lambda.clone())?;
        if credentials.is_some() {
            tracing::info!(
                "Functions have the AWS credentials of this program's own environment, for {}. So their calls can't be \
                 told apart, and their policies are not enforced",
                urls.s3
            );
        } else if !options.no_iam {
            services.door().enforce(permissions(&template, options)?);
        }
        if let Some(Latency::Aws) = options.latency {
            services.door().slow_down(samovar_services::latency::Latency::default());
        }
        if let Some(seed) = options.chaos {
            tracing::warn!("chaos: processes die and calls fail, as seed {seed} decides; see /_local/chaos");
            chaos.start(seed);
        }
        let mut sources = functions::start_sources(&template, &services, &invoker, &stop_sources);
        sources.extend(functions::start_asynchronous(&template, (&events, &targets), &invoker, &stop_sources));
        sources.extend(rules::start(&services, &stop_sources));
        sources.extend(streams);
        if let (true, Some(host)) = (options.watch, &host) {
            let (functions, Programs { builder, built, began_ms }) = (template.functions.clone(), programs.clone());
            servers.tasks.spawn(watch(functions, built, began_ms, builder, host.clone(), stop_sources.clone()));
        }
        let state = state(&template, &apis, &services, host.as_ref());
        let shown = Shown { state, issuer, dotenv: dotenv(&template, &urls, credentials.is_some(), trust), chaos };
        servers.serve_clients(public, shown, &apis, lambda, site, &options.allowed_hosts);
        servers.sweep(&services, options.ttl_every);
        servers.tasks.close();
        Ok(Self {
            url: urls.public,
            apis,
            services,
            events,
            host,
            sources,
            stop_sources,
            servers,
            _builder: programs.builder,
            _data_dir: data_dir,
        })
    }

    /// The public address: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The line that tells another program that the stack can be used.
    pub fn ready_line(&self) -> String {
        let mut line = json!({ "ready": true, "url": self.url });
        if let Some(api) = self.apis.websocket.first() {
            let url = self.url.replacen("http", "ws", 1);
            line["websocketUrl"] = format!("{url}/{}", api.spec.stage).into();
        }
        for url in &self.apis.function_urls {
            line["functionUrls"][url.function()] = format!("{}{}", self.url, url.path()).into();
        }
        let keys = self.apis.rest.iter().filter_map(|api| Some((&api.spec.logical_id, api.spec.api_key.as_ref()?)));
        for (api, key) in keys {
            line["apiKeys"][api] = key.as_str().into();
        }
        line.to_string()
    }

    /// Stops in order, within ten seconds, or at once when `hurry` completes.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        let deadline = Instant::now() + STOP_TIME;
        self.servers.stop_public.cancel();
        self.stop_sources.cancel();
        let orderly = async {
            let batches = futures_util::future::join_all(self.sources);
            let requests = futures_util::future::join3(
                futures_util::future::join_all(self.apis.http.iter().map(|api| api.shutdown())),
                futures_util::future::join_all(self.apis.rest.iter().map(|api| api.shutdown())),
                futures_util::future::join_all(self.apis.function_urls.iter().map(|url| url.shutdown())),
            );
            let (batches, requests) = tokio::join!(
                timeout_at(deadline - STOP_RESERVE, batches),
                timeout_at(deadline - STOP_RESERVE, requests)
            );
            if batches.is_err() {
                tracing::warn!("Some batches did not finish in time. Their messages will be delivered again");
            }
            if requests.is_err() {
                tracing::warn!("Some requests did not finish in time and get no answer");
            }
            let closing = futures_util::future::join_all(self.apis.websocket.iter().map(|api| api.shutdown()));
            if timeout_at(deadline - STOP_RESERVE / 3, closing).await.is_err() {
                tracing::warn!("Some connections were closed before their $disconnect has run");
            }
        };
        let grace = tokio::select! {
            () = orderly => deadline.saturating_duration_since(Instant::now()) / 2,
            () = hurry => Duration::ZERO,
        };
        if let Some(host) = &self.host {
            host.shutdown(grace).await;
        }
        self.servers.stop_internal.cancel();
        // Clients may still have long polls open. The end of the process closes them.
        let _ = timeout_at(deadline, self.servers.tasks.wait()).await;
        self.services.queues.close().await;
        self.events.close().await;
        if let Some(s3) = &self.services.s3 {
            s3.close();
        }
    }
}

/// Clients that connect at the same moment wait here to be accepted. With the usual 128, a thousand that come back at
/// once are reset. Linux takes `net.core.somaxconn` at most.
const BACKLOG: u32 = 4096;

fn listen(port: u16) -> Result<TcpListener> {
    let listener = TcpSocket::new_v4().and_then(|socket| {
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        socket.listen(BACKLOG)
    });
    listener.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("Port {port} is taken; choose another with --port N, or a free one with --port 0")
        }
        _ => anyhow::Error::new(error).context(format!("The stack cannot listen on port {port}")),
    })
}

/// The values of a stack with these addresses.
pub(crate) fn locals(sqs_url: &str, issuer: &str, allow_missing: bool) -> Locals {
    Locals {
        stack_name: STACK_NAME.to_owned(),
        region: REGION.to_owned(),
        account_id: ACCOUNT_ID.to_owned(),
        sqs_url: sqs_url.to_owned(),
        issuer: issuer.to_owned(),
        allow_missing,
    }
}

/// Reads the template, and says what in it is not run here.
fn read_template(options: &Options, urls: &Urls) -> Result<Template> {
    let locals = locals(&urls.sqs, &urls.issuer, options.allow_missing);
    let overrides = options.params.iter().cloned().collect();
    let loaded = samovar_template::load(&options.template, &overrides, &locals);
    let mut template = loaded.map_err(template_error)?;
    let elsewhere = options.invoke_endpoint.is_some();
    let unserved = unserved(&template, elsewhere);
    if !unserved.is_empty() && !options.allow_missing {
        let error = TemplateError::Invalid { path: options.template.clone(), problems: unserved };
        bail!("{error}\n--allow-missing runs the rest of the template");
    }
    for problem in &unserved {
        tracing::warn!("{}:{}: {}", options.template.display(), problem.line, problem.message);
    }
    if !elsewhere {
        unserved::leave_out(&mut template);
    }
    if let Some(line) = template.passed_over_line() {
        tracing::warn!("{line}");
    }
    for note in &template.notes {
        tracing::info!("{}:{}: {}", options.template.display(), note.line, note.message);
    }
    Ok(template)
}

fn template_error(error: TemplateError) -> anyhow::Error {
    match error {
        TemplateError::Read { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
            let path = std::path::absolute(&path).unwrap_or(path);
            anyhow::anyhow!(
                "There is no template {}: change to the project's folder, or give the file with --template FILE",
                path.display()
            )
        }
        error => error.into(),
    }
}

/// What the listeners need for TLS, and the functions. Without a place for the authority there is none, and all the
/// rest works.
fn open_tls() -> Option<(Arc<Tls>, Trust)> {
    let opened = Tls::open(REGION).and_then(|tls| {
        let trust = tls.trust()?;
        Ok((Arc::new(tls), trust))
    });
    opened.inspect_err(|error| tracing::warn!("https and wss are not served: {error}")).ok()
}

/// Returns `None` if nothing is to be kept.
fn open_data_dir(options: &Options) -> Result<Option<DataDir>> {
    (!options.ephemeral).then(|| DataDir::open(&options.data_dir)).transpose()
}

fn open_issuer(template: &Template, data_dir: Option<&Path>, urls: &Urls) -> Result<Issuer> {
    let client_id = template.user_pool_clients.first().map_or("local", String::as_str);
    Issuer::open(&urls.issuer, client_id, data_dir)
}

async fn build_site(template: &Template, options: &Options, urls: &Urls) -> Option<Arc<Site>> {
    let spec = template.static_site.clone()?;
    let addresses = Addresses::of(template, &urls.s3, REGION);
    Some(Arc::new(Site::open(spec, addresses, &urls.public, !options.no_site_build).await))
}

fn account() -> Account {
    Account { region: REGION.to_owned(), id: ACCOUNT_ID.to_owned() }
}

/// What the policies of functions allow, and those of the roles of integrations.
fn permissions(template: &Template, options: &Options) -> Result<Permissions> {
    let functions = template.functions.iter().map(|function| (function.name.as_str(), function.policies.as_slice()));
    let roles = websocket_apis::roles(template).map(|role| (role.name.as_str(), role.policies.as_slice()));
    let permissions = Permissions::of(functions.chain(roles), account());
    let Some(path) = &options.permissions_log else { return Ok(permissions) };
    let file = std::fs::File::options().create(true).append(true).open(path);
    Ok(permissions.logging_to(file.with_context(|| format!("{} can't be written", path.display()))?))
}

fn state(template: &Template, apis: &Apis, services: &Arc<Services>, host: Option<&Host>) -> State {
    State {
        views: template.local_state.clone(),
        apis: apis.websocket.clone(),
        http_apis: apis.http.clone(),
        rest_apis: apis.rest.clone(),
        services: Arc::clone(services),
        host: host.cloned(),
    }
}

/// The environment for functions that run elsewhere.
fn dotenv(template: &Template, urls: &Urls, shared_credentials: bool, trust: Option<&Trust>) -> String {
    let endpoints = Endpoints { s3: &urls.s3, public_s3: &urls.s3, others: urls.others.as_deref() };
    environment::dotenv(template, &urls.public, &endpoints, REGION, shared_credentials, trust)
}
