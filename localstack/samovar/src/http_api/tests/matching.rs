//! The choice of the route for a request.

use super::*;
use crate::http_api::routes::select;

#[track_caller]
fn assert_selects(routes: &[(&str, &str)], cases: &[(&str, Option<&str>)]) {
    let routes: Vec<HttpRoute> = routes.iter().map(|(key, function)| route(key, function)).collect();
    for (request, expected) in cases {
        let (method, path) = request.split_once(' ').unwrap();
        // The order of the routes makes no difference.
        for routes in [routes.clone(), routes.iter().rev().cloned().collect()] {
            let selected = select(&routes, &method.parse().unwrap(), path);
            let key = selected.map(|selected| selected.route.key.to_string());
            assert_eq!(key.as_deref(), *expected, "{request}");
        }
    }
}

#[test]
fn the_most_specific_route_is_selected_as_in_the_documentation_of_aws() {
    let keys = ["GET /pets/dog/1", "GET /pets/dog/{id}", "GET /pets/{proxy+}", "ANY /{proxy+}", "$default"];
    let cases = [
        ("GET /pets/dog/1", Some("GET /pets/dog/1")),
        ("GET /pets/dog/2", Some("GET /pets/dog/{id}")),
        ("GET /pets/cat/1", Some("GET /pets/{proxy+}")),
        ("POST /test/5", Some("ANY /{proxy+}")),
        ("POST /pets/dog/1", Some("ANY /{proxy+}")),
        ("GET /", Some("$default")),
    ];
    assert_selects(&keys.map(|key| (key, "f")), &cases);
}

#[test]
fn an_exact_method_precedes_any_and_the_path_precedes_both() {
    let keys = ["ANY /pets", "GET /pets", "GET /{thing}", "GET /{proxy+}", "DELETE /pets/{id}"];
    let cases = [
        ("GET /pets", Some("GET /pets")),
        ("POST /pets", Some("ANY /pets")),
        ("GET /birds", Some("GET /{thing}")),
        ("GET /birds/7", Some("GET /{proxy+}")),
        ("GET /pets/7", Some("GET /{proxy+}")),
        ("DELETE /pets/7", Some("DELETE /pets/{id}")),
        ("DELETE /birds", None),
    ];
    assert_selects(&keys.map(|key| (key, "f")), &cases);
}

#[test]
fn a_method_or_path_without_a_route_selects_none() {
    let keys = ["GET /", "GET /pets", "POST /pets/{id}"];
    let cases = [
        ("GET /", Some("GET /")),
        ("HEAD /pets", None),
        ("GET /Pets", None),
        ("GET /pets/", None),
        ("GET /pets/7", None),
        ("POST /pets/", None),
        ("POST /pets/7/8", None),
        ("GET //pets", None),
    ];
    assert_selects(&keys.map(|key| (key, "f")), &cases);
}

#[test]
fn variables_are_decoded_and_a_greedy_one_holds_the_rest_of_the_path() {
    let routes = [route("GET /a/{x}/{y}", "f"), route("GET /files/{path+}", "g"), route("GET /caf\u{e9}", "h")];
    let parameters = |path: &str| select(&routes, &Method::GET, path).unwrap().parameters;
    let of = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    assert_eq!(parameters("/a/1%202/b%2Fc"), of(&[("x", "1 2"), ("y", "b/c")]));
    assert_eq!(parameters("/files/a/b%20c/"), of(&[("path", "a/b c/")]));
    assert_eq!(parameters("/caf%C3%A9"), of(&[]));
}

#[tokio::test]
async fn a_request_without_a_route_is_404() {
    let bench = Bench::start(&[("GET /pets", "pets")]).await;
    assert_eq!(bench.get("/pets").await.status, 200);
    for (method, path) in
        [(Method::GET, "/"), (Method::GET, "/dogs"), (Method::POST, "/pets"), (Method::OPTIONS, "/pets")]
    {
        send(bench.request(method, path)).await.assert_refused(404, "Not Found");
    }
    assert_eq!(bench.functions.count("pets"), 1);
}

#[tokio::test]
async fn the_paths_of_a_named_stage_begin_with_its_name() {
    let bench = Bench::with(&[("GET /", "root"), ("GET /pets/{id}", "pet")], |api| api.spec.stage = "v1".into()).await;
    let event = bench.event_of("pet", bench.request(Method::GET, "/v1/pets/7")).await;
    assert_eq!([&event["rawPath"], &event["requestContext"]["http"]["path"]], ["/v1/pets/7", "/v1/pets/7"]);
    assert_eq!([&event["requestContext"]["stage"], &event["pathParameters"]["id"]], ["v1", "7"]);
    for path in ["/v1", "/v1/"] {
        assert_eq!(bench.get(path).await.status, 200, "{path}");
    }
    for path in ["/pets/7", "/", "/v11/pets/7", "/$default/pets/7"] {
        bench.get(path).await.assert_refused(404, "Not Found");
    }
}

#[tokio::test]
async fn a_stages_name_precedes_the_default_stage() {
    let functions = Arc::new(Functions::default());
    let api = |stage: &str, function: &str| {
        let mut spec = spec(&[("$default", function)]);
        spec.stage = stage.into();
        Arc::new(Api::new(spec, &Edge::of(([127, 0, 0, 1], 80).into(), &functions)))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = router(vec![api("$default", "default"), api("v1", "v1")]);
    tokio::spawn(crate::server::serve(listener, router, None, CancellationToken::new()));
    for (path, function) in
        [("/v1/a", "v1"), ("/v1", "v1"), ("/v2/a", "default"), ("/", "default"), ("/a/v1", "default")]
    {
        assert_eq!(send(reqwest::Client::new().get(format!("{url}{path}"))).await.status, 200);
        assert_eq!(functions.event(function).await["rawPath"], path);
    }
}
