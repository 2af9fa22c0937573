//! A server with plain and encrypted clients at one port, and what clients accept.
#![allow(clippy::unwrap_used, reason = "A test that panics has failed, as it should")]

use std::os::unix::fs::PermissionsExt as _;

use axum::Router;
use axum::extract::Request;
use axum::routing::any;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::server::{Scheme, serve};
use crate::testing::within;

struct Bench {
    _folder: tempfile::TempDir,
    tls: Arc<Tls>,
    port: u16,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

impl Bench {
    /// A server that answers with the scheme.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = Arc::new(Tls::open_in(folder.path(), "eu-west-1").unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().fallback(any(|request: Request| async move { Scheme::of(request.extensions()) }));
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(listener, router, Some(Arc::clone(&tls)), stop.clone()));
        Self { _folder: folder, tls, port, stop, served }
    }

    async fn stop(self) {
        self.stop.cancel();
        within("The server ends", self.served).await.unwrap();
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// Shakes hands as a client that accepts the authority with this certificate alone.
    async fn shake_hands(&self, name: &str, certificate: &str) -> io::Result<impl AsyncReadWrite> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let client = client.with_safe_default_protocol_versions().unwrap();
        let client = client.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(client)).connect(name, self.connect().await).await
    }
}

trait AsyncReadWrite: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> AsyncReadWrite for T {}

/// The body of the answer to one request.
async fn body(mut stream: impl AsyncReadWrite) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within("The answer ends", stream.read_to_string(&mut answer)).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test]
async fn one_port_serves_plain_and_encrypted_clients_under_all_names_of_the_stack() {
    let bench = Bench::start().await;
    assert_eq!(body(bench.connect().await).await, "http");
    for name in [
        "127.0.0.1",
        "::1",
        "localhost",
        "media.localhost",
        "a1b2c3.execute-api.eu-west-1.amazonaws.com",
        "a1b2c3.lambda-url.eu-west-1.on.aws",
        "photos.s3.eu-west-1.amazonaws.com",
        "sts.amazonaws.com",
    ] {
        let stream = bench.shake_hands(name, bench.tls.certificate()).await;
        assert_eq!(body(stream.unwrap_or_else(|error| panic!("{name}: {error}"))).await, "https", "{name}");
    }
    for name in ["example.com", "127.0.0.2", "amazonaws.com.example"] {
        let error = bench.shake_hands(name, bench.tls.certificate()).await.err().unwrap().to_string();
        assert!(error.contains("not valid for name"), "{name}: {error}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_client_that_says_nothing_or_stops_within_its_handshake_holds_up_no_stop() {
    let bench = Bench::start().await;
    let silent = bench.connect().await;
    let mut half = bench.connect().await;
    half.write_all(&[FIRST_BYTE, 3, 1]).await.unwrap();
    let mut nonsense = bench.connect().await;
    nonsense.write_all(&[FIRST_BYTE; 64]).await.unwrap();
    // It is told so, with an alert (21), and the server goes on.
    let mut alert = [0; 1];
    within("The alert comes", nonsense.read_exact(&mut alert)).await.unwrap();
    assert_eq!(alert, [21]);
    assert_eq!(body(bench.connect().await).await, "http");
    bench.stop().await;
    drop((silent, half));
}

#[tokio::test]
async fn the_authority_signs_for_no_name_of_others() {
    let bench = Bench::start().await;
    let names = vec!["example.com".to_owned(), "localhost".to_owned()];
    let tls = Tls { authority: Arc::clone(&bench.tls.authority), names, config: OnceLock::new() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(serve(listener, Router::new(), Some(Arc::new(tls)), bench.stop.clone()));
    let forging = Bench { port, served, ..bench };
    for name in ["example.com", "localhost"] {
        let error = forging.shake_hands(name, forging.tls.certificate()).await.err().unwrap().to_string();
        assert!(error.contains("NameConstraintViolation"), "{name}: {error}");
    }
    forging.stop().await;
}

#[test]
fn the_authority_is_made_once_also_by_many_at_once_and_only_its_user_can_read_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("new/ca");
    let open = || Tls::open_in(&folder, "eu-west-1").unwrap().certificate().to_owned();
    let certificates: Vec<_> = std::thread::scope(|scope| {
        let openings: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        openings.into_iter().map(|opening| opening.join().unwrap()).collect()
    });
    assert!(certificates.iter().all(|certificate| *certificate == open()));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join("key.pem")), mode(&folder.join("ca.pem"))), (0o700, 0o600, 0o644));
}

#[test]
fn the_bundle_is_the_roots_of_the_system_and_the_authority() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::open_in(folder.path(), "eu-west-1").unwrap();
    let variables = tls.trust().unwrap().variables();
    assert_eq!(variables["NODE_EXTRA_CA_CERTS"], folder.path().join("ca.pem").to_string_lossy());
    let Some(roots) = openssl_probe::probe().cert_file else { return };
    let bundle = folder.path().join("bundle.pem");
    for name in ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"] {
        assert_eq!(Path::new(&variables[name]), bundle);
    }
    let certificates =
        |path: &Path| CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    let all = [certificates(&roots), certificates(&folder.path().join("ca.pem"))].concat();
    assert_eq!(certificates(&bundle), all);
    // It is written again if it is not as it should be, and not otherwise.
    std::fs::write(&bundle, "old").unwrap();
    tls.trust().unwrap();
    let written = bundle.metadata().unwrap().modified().unwrap();
    tls.trust().unwrap();
    assert_eq!(bundle.metadata().unwrap().modified().unwrap(), written);
    assert_eq!(certificates(&bundle), all);
}

#[test]
fn without_a_usable_key_an_error_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    Tls::open_in(folder.path(), "eu-west-1").unwrap();
    let key = folder.path().join("key.pem");
    std::fs::write(&key, "nonsense").unwrap();
    let error = Tls::open_in(folder.path(), "eu-west-1").unwrap_err().to_string();
    assert!(error.contains("key.pem is no private key") && error.contains("remove it"), "{error}");
    std::fs::remove_file(&key).unwrap();
    Tls::open_in(folder.path(), "eu-west-1").unwrap();
    let error = Tls::open_in(&key, "eu-west-1").unwrap_err().to_string();
    assert!(error.contains("key.pem could not be made: "), "{error}");
}
