//! The web site on the public port: its paths, its responses to a browser, and the addresses in its files.

use http::HeaderMap;
use serde_json::json;

use super::*;

const SITE: &str = "
Metadata:
  StaticSite:
    Directory: site
    Fallback: index.html
    Immutable: assets
    Headers: Headers
    Files:
      config.json:
        webSocketUrl: {Output: Socket}
        apiUrl: {Output: Api}
        issuer: {Output: Issuer}
        storage: {Output: Storage}
Outputs:
  Socket: {Value: !Sub '${Socket.ApiEndpoint}/ws'}
  Api: {Value: !GetAtt Api.ApiEndpoint}
  Issuer: {Value: !GetAtt Pool.ProviderURL}
  Storage: {Value: !Sub 'https://s3.${AWS::Region}.amazonaws.com'}
Transform: AWS::Serverless-2016-10-31
Globals: {Function: {CodeUri: ., Handler: bootstrap, Runtime: provided.al2023}}
Resources:
  Socket:
    Type: AWS::Serverless::WebSocketApi
    Properties:
      RouteSelectionExpression: $request.body.action
      StageName: ws
      Routes: {$default: {FunctionArn: !GetAtt Web.Arn}}
  Web:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: web}}
    Properties:
      Events:
        Api: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: ANY, Path: '/api/{proxy+}'}}
        Docs: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: GET, Path: /docs}}
        Second: {Type: HttpApi, Properties: {ApiId: !Ref Second, Method: GET, Path: /a}}
  Api: {Type: AWS::Serverless::HttpApi}
  Second: {Type: AWS::Serverless::HttpApi, Properties: {StageName: v1}}
  Pool: {Type: AWS::Cognito::UserPool}
  Media: {Type: AWS::S3::Bucket}
  Headers:
    Type: AWS::CloudFront::ResponseHeadersPolicy
    Properties:
      ResponseHeadersPolicyConfig:
        Name: site
        SecurityHeadersConfig:
          ContentSecurityPolicy:
            ContentSecurityPolicy: !Sub
              - connect-src 'self' ${Api.ApiEndpoint} ${Socket.ApiEndpoint} https://s3.${AWS::Region}.amazonaws.com \
                    https://${Media}.s3.${AWS::Region}.amazonaws.com
              - {}
            Override: true
          FrameOptions: {FrameOption: DENY, Override: true}
          StrictTransportSecurity: {AccessControlMaxAgeSec: 60, Override: true}
        CustomHeadersConfig: {Items: [{Header: Permissions-Policy, Value: camera=(), Override: true}]}
";

const FILES: [(&str, &str); 9] = [
    ("site/index.html", "<title>Home</title>"),
    ("site/sub/index.html", "<title>Sub</title>"),
    ("site/assets/app-1a2b.js", "export const answer = 42"),
    ("site/assets/app-1a2b.js.gz", "not really gzip"),
    ("site/app.webmanifest", "{}"),
    ("site/docs", "a file under the path of a route"),
    ("site/with blank.txt", "blank"),
    ("site/.build-stamp", "of no interest to browsers"),
    ("secret.txt", "beside the site"),
];

const PAGE: (&str, &str) = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Bench {
    async fn with_site() -> Self {
        Self::start_beside(SITE, &FILES).await.unwrap()
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.stack.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = within("The request is answered", request.send()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, path, headers).await
    }

    /// Sends a path as it is, which a client of HTTP would tidy, and returns the first line of the answer and the body.
    async fn raw(&self, path: &str) -> (String, String) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.stack.url.strip_prefix("http://").unwrap()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        within("The answer ends", stream.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }
}

#[tokio::test]
async fn a_site_gets_the_paths_that_belong_to_nobody_else() {
    let bench = Bench::with_site().await;
    let not_found = r#"{"message":"Not Found"}"#;
    for (method, path, status, body) in [
        (Method::GET, "/", 200, "Home"),
        (Method::HEAD, "/", 200, ""),
        (Method::GET, "/?session=a", 200, "Home"),
        (Method::GET, "/some/page", 200, "Home"),
        (Method::GET, "/some/page/", 200, "Home"),
        (Method::GET, "/assets", 200, "Home"),
        (Method::GET, "/sub/", 200, "Sub"),
        (Method::GET, "/assets/app-1a2b.js", 200, "answer"),
        (Method::GET, "/with%20blank.txt", 200, "blank"),
        (Method::GET, "/missing.js", 404, not_found),
        (Method::GET, "/assets/missing-1a2b.js", 404, not_found),
        (Method::GET, "/some/page.v2", 404, not_found),
        (Method::GET, "/.build-stamp", 404, not_found),
        // The stack's own, a stage's, a bucket's.
        (Method::GET, "/_local/health", 200, r#"{"status":"ok"}"#),
        (Method::GET, "/_local/nothing", 404, not_found),
        (Method::GET, "/_local", 404, not_found),
        (Method::GET, "/_aws/nothing", 405, ""),
        (Method::GET, "/ws", 426, "This is a WebSocket API"),
        (Method::GET, "/ws/page", 403, "Forbidden"),
        (Method::GET, "/local-media", 403, "AccessDenied"),
        (Method::GET, "/v1/page", 404, not_found),
        // The API's, although it has no such route, or not for this method.
        (Method::GET, "/api", 404, not_found),
        (Method::GET, "/api/", 404, not_found),
        (Method::GET, "/docs/page", 404, not_found),
        (Method::HEAD, "/docs", 404, ""),
        (Method::POST, "/", 404, not_found),
        (Method::PUT, "/assets/app-1a2b.js", 404, not_found),
        (Method::OPTIONS, "/", 404, not_found),
    ] {
        let answer = bench.ask(method.clone(), path, &[PAGE]).await;
        assert!(answer.status == status && answer.body.contains(body), "{method} {path}: {answer:?}");
    }
    assert_eq!(bench.functions.count("web"), 0);
    for path in ["/api/nothing", "/docs", "/v1/a"] {
        assert_eq!(bench.get(path, &[PAGE]).await.status, 200, "{path}");
        bench.functions.event("web").await;
    }
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn the_fallback_page_is_only_for_requests_for_pages() {
    let bench = Bench::with_site().await;
    assert_eq!(bench.get("/some/page", &[("accept", "*/*")]).await.status, 404);
    assert_eq!(bench.get("/some/page", &[("accept", "application/json")]).await.status, 404);
    assert_eq!(bench.get("/", &[("accept", "*/*")]).await.status, 200);
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn no_path_leads_out_of_the_site() {
    let bench = Bench::with_site().await;
    let long = format!("/{}", "a".repeat(300));
    for path in [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/assets/../../secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "//../secret.txt",
        "/..%5csecret.txt",
        "/%00",
        "/assets/app-1a2b.js%00.html",
        "/%2Ebuild-stamp",
        "/./.build-stamp",
        &long,
    ] {
        let (status, body) = bench.raw(path).await;
        assert_eq!(
            (status.as_str(), body.as_str()),
            ("HTTP/1.1 404 Not Found", r#"{"message":"Not Found"}"#),
            "{path}"
        );
    }
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn files_have_their_types_and_cache_headers() {
    let bench = Bench::with_site().await;
    for (path, content_type, cache) in [
        ("/", "text/html; charset=utf-8", "no-cache"),
        ("/some/page", "text/html; charset=utf-8", "no-cache"),
        ("/app.webmanifest", "application/manifest+json", "no-cache"),
        ("/config.json", "application/json", "no-cache"),
        ("/assets/app-1a2b.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let answer = bench.ask(method, path, &[PAGE]).await;
            assert_eq!(
                (answer.header("content-type"), answer.header("cache-control")),
                (content_type, cache),
                "{path}"
            );
            assert_ne!(answer.header("content-length"), "0", "{path}");
        }
    }
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn a_file_that_a_client_has_already_is_not_sent_again() {
    let bench = Bench::with_site().await;
    let first = bench.get("/", &[]).await;
    let (tag, date) = (first.header("etag").to_owned(), first.header("last-modified").to_owned());
    let known: [&[(&str, &str)]; 4] = [
        &[("if-none-match", &tag)],
        &[("if-none-match", &format!("\"other\", {tag}"))],
        &[("if-none-match", "*")],
        &[("if-modified-since", &date)],
    ];
    for headers in known {
        let again = bench.get("/", headers).await;
        assert_eq!(
            (again.status, again.body.as_str(), again.header("cache-control")),
            (304, "", "no-cache"),
            "{headers:?}"
        );
        assert_eq!(again.header("x-frame-options"), "DENY");
    }
    // A browser that has seen another, newer site under this address asks like this.
    let of_another = [("if-none-match", "W/\"other\""), ("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")];
    assert_eq!(bench.get("/", &of_another).await.body, first.body);
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn ranges_and_compressed_files_are_sent_on_request() {
    let bench = Bench::with_site().await;
    let path = "/assets/app-1a2b.js";
    let part = bench.get(path, &[("range", "bytes=7-11")]).await;
    assert_eq!((part.status, part.body.as_str()), (206, "const"));
    assert_eq!(part.header("content-range"), "bytes 7-11/24");
    let beyond = bench.get(path, &[("range", "bytes=100-")]).await;
    assert_eq!((beyond.status, beyond.header("cache-control")), (416, "no-store"));
    let unsure = bench.get(path, &[("range", "bytes=7-11"), ("if-range", "\"other\"")]).await;
    assert_eq!((unsure.status, unsure.body.as_str()), (200, "export const answer = 42"));

    let plain = bench.get(path, &[("accept-encoding", "identity")]).await;
    let packed = bench.get(path, &[("accept-encoding", "gzip, br")]).await;
    assert_eq!((packed.header("content-encoding"), packed.body.as_str()), ("gzip", "not really gzip"));
    assert_eq!(packed.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!((packed.header("vary"), plain.header("vary")), ("accept-encoding", "accept-encoding"));
    assert_ne!(packed.header("etag"), plain.header("etag"));
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn every_response_of_the_site_has_the_headers_of_the_policy_and_the_api_has_none() {
    let bench = Bench::with_site().await;
    let url = bench.stack.url.clone();
    let socket = url.replacen("http", "ws", 1);
    let policy = format!("connect-src 'self' {url} {socket} {url} {url}/local-media");
    for path in ["/", "/some/page", "/assets/app-1a2b.js", "/config.json"] {
        let answer = bench.get(path, &[PAGE]).await;
        let names = ["content-security-policy", "x-frame-options", "permissions-policy", "strict-transport-security"];
        let headers = names.map(|name| answer.header(name));
        assert_eq!(headers, [policy.as_str(), "DENY", "camera=()", ""], "{path}");
    }
    for path in ["/api/me", "/missing.js", "/_local/health"] {
        assert_eq!(bench.get(path, &[PAGE]).await.header("x-frame-options"), "", "{path}");
    }
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn a_page_gets_the_apis_at_its_own_origin_if_that_is_this_machine() {
    let bench = Bench::with_site().await;
    let url = bench.stack.url.clone();
    let port = url.rsplit(':').next().unwrap();
    let (localhost, forwarded) = (format!("localhost:{port}"), "[::1]:9000".to_owned());
    for (host, own) in [
        (localhost.as_str(), format!("http://{localhost}")),
        (&forwarded, format!("http://{forwarded}")),
        ("127.0.0.1", "http://127.0.0.1".to_owned()),
        ("tunnel.example", url.clone()),
    ] {
        let answer = bench.get("/config.json", &[("host", host)]).await;
        let socket = own.replacen("http", "ws", 1);
        assert_eq!(
            serde_json::from_str::<Value>(&answer.body).unwrap(),
            json!({
                "webSocketUrl": format!("{socket}/ws"),
                "apiUrl": own,
                // Tokens and signatures are for this name.
                "issuer": format!("{url}/_local/oidc"),
                "storage": url,
            }),
            "{host}"
        );
        let policy = format!("connect-src 'self' {own} {socket} {url} {url}/local-media");
        assert_eq!(answer.header("content-security-policy"), policy, "{host}");
    }
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn a_site_that_cannot_be_built_says_why_and_the_rest_works() {
    let build = "StaticSite:\n    Build: {Directory: ., Run: no-such-tool <b>, Sources: [src], Needs: A & B}";
    let bench = Bench::start_beside(&SITE.replace("StaticSite:", build), &FILES).await.unwrap();
    for path in ["/", "/some/page"] {
        let answer = bench.get(path, &[PAGE]).await;
        let types = (answer.header("content-type"), answer.header("cache-control"), answer.header("x-frame-options"));
        assert_eq!((answer.status, types), (503, ("text/html; charset=utf-8", "no-store", "DENY")));
        let sentence =
            "<p>The site is not built, because no-such-tool was not found: install A &amp; B and start again.</p>";
        assert!(answer.body.contains(sentence), "{}", answer.body);
    }
    assert_eq!(bench.get("/", &[]).await.status, 503);
    for (path, status) in
        [("/assets/app-1a2b.js", 404), ("/config.json", 200), ("/api/me", 200), ("/_local/health", 200)]
    {
        assert_eq!(bench.get(path, &[PAGE]).await.status, status, "{path}");
    }
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn a_site_is_built_before_the_stack_is_ready() {
    let build =
        "StaticSite:\n    Build: {Directory: ., Run: mkdir site && cp page.html site/index.html, Sources: [page.html]}";
    let files = [("page.html", "<title>Built</title>")];
    let bench = Bench::start_beside(&SITE.replace("StaticSite:", build), &files).await.unwrap();
    assert_eq!(bench.get("/", &[PAGE]).await.body, "<title>Built</title>");
    within("The stack stops", bench.stack.stop(pending())).await;
}

#[tokio::test]
async fn a_site_needs_no_http_api() {
    let template = "Metadata: {StaticSite: {Directory: site}}\nResources: {Q: {Type: AWS::SQS::Queue}}";
    let bench = Bench::start_beside(template, &FILES).await.unwrap();
    assert_eq!(bench.get("/", &[PAGE]).await.body, "<title>Home</title>");
    assert_eq!(bench.get("/some/page", &[PAGE]).await.status, 404, "no fallback is declared");
    assert_eq!(bench.get("/_local/health", &[]).await.status, 200);
    within("The stack stops", bench.stack.stop(pending())).await;
}
