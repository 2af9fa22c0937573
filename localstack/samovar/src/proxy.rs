//! A proxy for functions whose code knows [AWS's own host names](crate::aws_names), and whose runtime can't be told
//! otherwise: programs in Go, shell and other languages. Most HTTP clients of such programs ask the proxy in
//! `HTTPS_PROXY` for a tunnel (`CONNECT`, RFC 9110, 9.3.6), and the SDK for Go is one of them. AWS's SDK for Rust is
//! none.
//!
//! A tunnel to a name of AWS leads to the stack, which has a certificate for it. Every other tunnel leads where it
//! should, and nobody here can read what is in it. A name in one of the function's own `AWS_ENDPOINT_URL…` variables is
//! meant for the world, so its client is told to go there by itself.
//!
//! A tunnel lives until both sides have closed it, or until the stack stops.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use samovar_template::Function;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

use crate::aws_names;

/// Names of this machine need no proxy.
const LOCAL: &str = "localhost,127.0.0.1,::1";

/// The variables that tell a function's program to use the proxy at this address. A process of Python or Node.js needs
/// none.
pub(crate) fn variables(function: &Function, url: &str) -> BTreeMap<String, String> {
    if ["python", "nodejs"].iter().any(|language| function.runtime.starts_with(language)) {
        return BTreeMap::new();
    }
    let endpoints = function.environment.iter().filter(|(name, _)| name.starts_with("AWS_ENDPOINT_URL"));
    let meant = endpoints.filter_map(|(_, value)| Some(value.parse::<http::Uri>().ok()?.host()?.to_owned()));
    let not_here = std::iter::once(LOCAL.to_owned()).chain(meant).collect::<Vec<_>>().join(",");
    [("HTTPS_PROXY".to_owned(), url.to_owned()), ("NO_PROXY".to_owned(), not_here)].into()
}

/// The proxy of a stack.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    /// Where the stack serves AWS's names.
    pub(crate) stack: SocketAddr,
    /// The tunnels.
    pub(crate) tasks: TaskTracker,
    /// Ends all tunnels.
    pub(crate) stop: CancellationToken,
}

impl Proxy {
    /// Makes tunnels, and leaves all other requests to `router`.
    pub(crate) fn before(self, router: Router) -> Router {
        Router::new().fallback(async move |request: Request| {
            let mut router = router;
            if request.method() == Method::CONNECT {
                return self.connect(request).await;
            }
            router.call(request).await.unwrap_or_else(|never| match never {})
        })
    }

    async fn connect(&self, request: Request) -> Response {
        let (Some(host), Some(port)) = (request.uri().host(), request.uri().port_u16()) else {
            return (StatusCode::BAD_REQUEST, "CONNECT needs HOST:PORT").into_response();
        };
        let connected = match aws_names::is_of_aws(host) {
            true => TcpStream::connect(self.stack).await,
            // An IPv6 address is in brackets, which are no part of it.
            false => TcpStream::connect((host.trim_matches(['[', ']']), port)).await,
        };
        match connected {
            Ok(target) => {
                let stop = self.stop.clone();
                self.tasks.spawn(async move {
                    tokio::select! {
                        ended = carry(request, target) => if let Err(error) = ended {
                            tracing::debug!(%error, "A tunnel ended");
                        },
                        () = stop.cancelled() => {}
                    }
                });
                StatusCode::OK.into_response()
            }
            Err(error) => {
                let message = format!("The local stack can't reach {host}:{port} for a function: {error}");
                (StatusCode::BAD_GATEWAY, message).into_response()
            }
        }
    }
}

/// Carries bytes in both directions, once the client has been told that it may begin.
async fn carry(request: Request<Body>, mut target: TcpStream) -> io::Result<()> {
    let upgraded = hyper::upgrade::on(request).await.map_err(io::Error::other)?;
    tokio::io::copy_bidirectional(&mut TokioIo::new(upgraded), &mut target).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::build::testing::function;
    use crate::server::serve;
    use crate::testing::within;

    struct Bench {
        proxy: SocketAddr,
        stop: CancellationToken,
        tasks: TaskTracker,
    }

    impl Bench {
        /// A proxy whose stack is at this address.
        async fn start(stack: SocketAddr) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (proxy, stop, tasks) = (listener.local_addr().unwrap(), CancellationToken::new(), TaskTracker::new());
            let router = Proxy { stack, tasks: tasks.clone(), stop: stop.clone() }.before(Router::new());
            tasks.spawn(serve(listener, router, None, stop.clone()));
            Self { proxy, stop, tasks }
        }

        /// The head of the answer, and the tunnel.
        async fn connect(&self, to: &str) -> (String, TcpStream) {
            let mut stream = TcpStream::connect(self.proxy).await.unwrap();
            stream.write_all(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes()).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(within("The head comes", stream.read_u8()).await.unwrap());
            }
            (String::from_utf8(head).unwrap(), stream)
        }

        async fn stop(self) {
            self.stop.cancel();
            self.tasks.close();
            within("The proxy and its tunnels end", self.tasks.wait()).await;
        }
    }

    /// A server that answers each client with its own name and the client's first byte.
    async fn server(name: &'static [u8; 5]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let byte = client.read_u8().await.unwrap();
                client.write_all(&[name.as_slice(), &[byte]].concat()).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_tunnel_to_a_name_of_aws_leads_to_the_stack_and_any_other_where_it_should() {
        let (stack, world) = (server(b"stack").await, server(b"world").await);
        let bench = Bench::start(stack).await;
        for (to, expected) in [
            ("abc.execute-api.us-east-1.amazonaws.com:443".to_owned(), b"stackx"),
            ("STS.amazonaws.com:443".to_owned(), b"stackx"),
            (world.to_string(), b"worldx"),
        ] {
            let (head, mut tunnel) = bench.connect(&to).await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            tunnel.write_all(b"x").await.unwrap();
            let mut answer = Vec::new();
            within("The tunnel ends with its server", tunnel.read_to_end(&mut answer)).await.unwrap();
            assert_eq!(answer, expected, "{to}");
        }
        bench.stop().await;
    }

    #[tokio::test]
    async fn what_cannot_be_reached_is_told_and_open_tunnels_hold_up_no_stop() {
        let bench = Bench::start(server(b"stack").await).await;
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (head, _) = bench.connect(&nobody.to_string()).await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
        let (head, _) = bench.connect("127.0.0.1").await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        let (head, open) = bench.connect("sts.amazonaws.com:443").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        bench.stop().await;
        drop(open);
    }

    #[test]
    fn a_compiled_function_uses_the_proxy_except_for_what_it_names_itself() {
        let folder = tempfile::tempdir().unwrap();
        let of = |runtime, variables: &[(&str, &str)]| {
            let mut function = function("F", runtime, folder.path());
            let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            function.environment = pairs.collect();
            super::variables(&function, "http://127.0.0.1:1")
        };
        assert!(of("python3.13", &[]).is_empty() && of("nodejs22.x", &[]).is_empty());
        assert_eq!(of("provided.al2023", &[])["HTTPS_PROXY"], "http://127.0.0.1:1");
        assert_eq!(of("provided.al2023", &[])["NO_PROXY"], LOCAL);
        let own =
            [("AWS_ENDPOINT_URL_SNS", "https://sns.us-east-1.amazonaws.com/a"), ("OTHER_URL", "https://a.example")];
        assert_eq!(of("provided.al2023", &own)["NO_PROXY"], format!("{LOCAL},sns.us-east-1.amazonaws.com"));
    }
}
