//! The HTTP client that all services' clients share.
//!
//! The SDK's own default reads the machine's root certificates whether or not an endpoint uses TLS, and makes a TLS
//! connector twice for each client. That was nearly nine tenths of the instructions with which the
//! worker starts. Here all
//! clients share the connectors, and TLS is set up once: when the first client is made whose endpoint is not plain
//! `http`. Clients are made at init, where Lambda gives a function more of its processor than later. A client with a
//! plain endpoint may still meet an `https` address. Then TLS is set up for that call.
//!
//! Two calls that need the same connector at the same moment get the same one: the list of connectors is looked up and
//! extended under its lock, and a connector makes its parts in cells that are set once.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::endpoint_config::EndpointUrl;

/// A client to be shared by all services' clients.
pub(crate) fn client() -> SharedHttpClient {
    SharedHttpClient::new(Clients::default())
}

/// The connectors, one for each pair of time limits.
#[derive(Debug, Default, Clone)]
struct Clients(Arc<RwLock<Vec<(Limits, ByScheme)>>>);

/// How long to wait for a connection, and for a part of an answer.
type Limits = (Option<Duration>, Option<Duration>);

impl Clients {
    fn connector(&self, settings: &HttpConnectorSettings) -> ByScheme {
        let limits = (settings.connect_timeout(), settings.read_timeout());
        let find = |known: &[(Limits, ByScheme)]| {
            known.iter().find(|(with, _)| *with == limits).map(|(_, connector)| connector.clone())
        };
        if let Some(connector) = find(&self.0.read().unwrap_or_else(PoisonError::into_inner)) {
            return connector;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        find(&known).unwrap_or_else(|| {
            let parts = Parts { settings: settings.clone(), plain: OnceLock::new(), tls: OnceLock::new() };
            let new = ByScheme(Arc::new(parts));
            known.push((limits, new.clone()));
            new
        })
    }
}

impl HttpClient for Clients {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.connector(settings))
    }

    /// The SDK calls this when a client is made.
    fn validate_base_client_config(&self, _: &RuntimeComponentsBuilder, config: &ConfigBag) -> Result<(), BoxError> {
        if config.load::<EndpointUrl>().is_some_and(|endpoint| is_plain(&endpoint.0)) {
            return Ok(());
        }
        let mut settings = HttpConnectorSettings::builder();
        if let Some(timeouts) = config.load::<TimeoutConfig>() {
            settings.set_connect_timeout(timeouts.connect_timeout());
            settings.set_read_timeout(timeouts.read_timeout());
        }
        self.connector(&settings.build()).tls();
        Ok(())
    }
}

/// Whether this address has no TLS.
pub(crate) fn is_plain(url: &str) -> bool {
    url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
}

/// A connector without TLS and one with it, each made when it is first needed.
#[derive(Debug, Clone)]
struct ByScheme(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    settings: HttpConnectorSettings,
    plain: OnceLock<Connector>,
    tls: OnceLock<Connector>,
}

impl ByScheme {
    fn plain(&self) -> &Connector {
        self.0.plain.get_or_init(|| {
            let builder = Connector::builder().connector_settings(self.0.settings.clone());
            builder.proxy_config(ProxyConfig::from_env()).build_http()
        })
    }

    fn tls(&self) -> &Connector {
        self.0.tls.get_or_init(|| {
            let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
            let builder = Connector::builder().connector_settings(self.0.settings.clone()).tls_provider(provider);
            builder.proxy_config(ProxyConfig::from_env()).build()
        })
    }
}

impl HttpConnector for ByScheme {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        match is_plain(request.uri()) {
            true => self.plain().call(request),
            false => self.tls().call(request),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_sdk_dynamodb::Client;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::testing::endpoint::{Endpoint, Step};

    impl Clients {
        /// The connectors, and how many of them have TLS.
        fn made(&self) -> (usize, usize) {
            let known = self.0.read().expect("the list");
            (known.len(), known.iter().filter(|(_, connector)| connector.0.tls.get().is_some()).count())
        }
    }

    fn client(clients: &Clients, endpoint: Option<&str>) -> Client {
        let timeouts = TimeoutConfig::builder().connect_timeout(Duration::from_secs(5)).build();
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("AKID", "key", None, None, "tests")))
            .sleep_impl(aws_smithy_async::rt::sleep::default_async_sleep().expect("the runtime's"))
            .timeout_config(timeouts)
            .http_client(clients.clone());
        config.set_endpoint_url(endpoint.map(str::to_owned));
        Client::new(&config.build())
    }

    fn endpoint() -> Endpoint {
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: 2\r\n\r\n{}";
        Endpoint::start(vec![vec![Step::Send(answer.into())]])
    }

    #[tokio::test]
    async fn clients_of_plain_endpoints_set_up_no_tls() {
        let (clients, endpoint) = (Clients::default(), endpoint());
        let client = client(&clients, Some(&endpoint.url.replace("http://", "HTTP://")));
        assert_eq!(clients.made(), (0, 0));
        client.list_tables().send().await.expect("an answer");
        assert_eq!(clients.made(), (1, 0));
    }

    #[tokio::test]
    async fn the_first_client_with_tls_sets_it_up_and_the_others_share_it() {
        let clients = Clients::default();
        let _first = client(&clients, None);
        let connector = clients.0.read().expect("the list")[0].1.clone();
        let tls: *const Connector = connector.tls();
        assert_eq!(clients.made(), (1, 1), "before any call");
        let _second = client(&clients, Some("https://dynamodb.example.org"));
        assert_eq!(clients.made(), (1, 1));
        assert!(std::ptr::eq(tls, connector.tls()));

        // A plain endpoint has a connector without TLS beside it.
        let endpoint = endpoint();
        client(&clients, Some(&endpoint.url)).list_tables().send().await.expect("an answer");
        assert_eq!(clients.made(), (1, 1));
        assert!(connector.0.plain.get().is_some());
    }

    #[tokio::test]
    async fn an_address_with_tls_gets_it_whatever_the_clients_endpoint_was() {
        let (clients, listener) = (Clients::default(), TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
        let connector = clients.connector(&HttpConnectorSettings::builder().build());
        let url = format!("https://{}/", listener.local_addr().expect("its address"));
        let call = connector.call(HttpRequest::get(url).expect("a request"));
        let first_byte = async {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            socket.read_u8().await.expect("a byte")
        };
        let (first_byte, answer) = tokio::join!(first_byte, call);
        assert_eq!(first_byte, 0x16, "a TLS handshake");
        answer.expect_err("the socket was closed");
        assert_eq!(clients.made(), (1, 1));
    }
}
