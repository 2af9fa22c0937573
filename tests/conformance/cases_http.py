"""HTTP APIs, with the HTTP client of Python's standard library."""

import base64
import json
import urllib.error
import urllib.request

from suite import PATIENCE, case, expect

GUIDE = "https://docs.aws.amazon.com/apigateway/latest/developerguide"
LAMBDA = f"{GUIDE}/http-api-develop-integrations-lambda.html"
ROUTES = f"{GUIDE}/http-api-develop-routes.html"
CORS = f"{GUIDE}/http-api-cors.html"
AREA = "HTTP API"


def request(endpoint, path, method="GET", headers=(), body=None):
    """Status, headers and body of an answer."""
    call = urllib.request.Request(f"{endpoint.http_url}{path}", data=body, method=method)
    for name, value in headers:
        call.add_unredirected_header(name, value)
    try:
        with urllib.request.urlopen(call, timeout=PATIENCE) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def event(endpoint, *arguments, **options):
    status, _, body = request(endpoint, *arguments, **options)
    expect(status, 200)
    return json.loads(body)


@case(AREA, "An event of format 2.0 has the parts of the request", LAMBDA)
def parts(endpoint):
    given = event(endpoint, "/items/7?b=2&a=x%20y", headers=[("X-One", "1"), ("Cookie", "c=1; d=2")])
    expect((given["version"], given["routeKey"], given["rawQueryString"]), ("2.0", "GET /items/{id}", "b=2&a=x%20y"))
    expect(given["rawPath"].endswith("/items/7"), True, "rawPath")
    expect(given["pathParameters"], {"id": "7"})
    expect(given["queryStringParameters"], {"a": "x y", "b": "2"})
    expect(given["cookies"], ["c=1", "d=2"])
    expect(given["headers"].get("x-one"), "1")
    expect(given["isBase64Encoded"], False)
    expect("body" in given, False, "a body")


@case(AREA, "Repeated parameters of the query are joined with commas", LAMBDA)
def repeated_query(endpoint):
    expect(event(endpoint, "/items/7?a=1&a=2")["queryStringParameters"], {"a": "1,2"})


@case(AREA, "`requestContext` has the request under `http`, and ids and times", LAMBDA)
def context(endpoint):
    given = event(endpoint, "/items/7", headers=[("User-Agent", "suite")])["requestContext"]
    expect(given["routeKey"], "GET /items/{id}")
    http = {"method": "GET", "userAgent": "suite", "protocol": "HTTP/1.1"}
    expect({name: given["http"][name] for name in http}, http)
    texts = ("accountId", "apiId", "domainName", "domainPrefix", "requestId", "stage", "time")
    expect([name for name in texts if not isinstance(given.get(name), str)], [])
    expect(isinstance(given.get("timeEpoch"), int), True, "timeEpoch")


@case(AREA, "A body of text is text, and any other is base64", LAMBDA)
def bodies(endpoint):
    for kind, sent, encoded in (("application/json", b'{"a":1}', False), ("image/png", b"\x00\xff", True)):
        given = event(endpoint, "/echo", method="POST", headers=[("Content-Type", kind)], body=sent)
        expect(given["isBase64Encoded"], encoded, kind)
        expect(base64.b64decode(given["body"]) if encoded else given["body"].encode(), sent, kind)


@case(AREA, "A literal segment of a route goes before a variable", ROUTES)
def literal(endpoint):
    expect(event(endpoint, "/items/first")["routeKey"], "GET /items/first")


@case(AREA, "A greedy variable takes the rest of the path, for any method", ROUTES)
def greedy(endpoint):
    given = event(endpoint, "/files/a/b.txt", method="PUT", body=b"x")
    expect((given["routeKey"], given["pathParameters"]), ("ANY /files/{path+}", {"path": "a/b.txt"}))


@case(AREA, "Without a route the answer is 404 `Not Found`", ROUTES)
def no_route(endpoint):
    for path, method in (("/nowhere", "GET"), ("/echo", "GET")):
        status, _, body = request(endpoint, path, method=method)
        expect((status, json.loads(body)), (404, {"message": "Not Found"}), f"{method} {path}")


@case(AREA, "An answer without `statusCode` is the body of a 200 in JSON", LAMBDA)
def inferred(endpoint):
    status, headers, body = request(endpoint, "/items/7?do=infer")
    expect((status, headers["content-type"], json.loads(body)), (200, "application/json", {"inferred": True}))


@case(AREA, "Status, headers and cookies of an answer reach the client", LAMBDA)
def answer(endpoint):
    status, headers, body = request(endpoint, "/items/7?do=answer")
    expect((status, headers["x-own"], body), (201, "1", b"made"))
    expect(headers.get_all("set-cookie"), ["a=1", "b=2; Secure"])


@case(AREA, "An answer in base64 reaches the client as bytes", LAMBDA)
def binary(endpoint):
    status, headers, body = request(endpoint, "/items/7?do=binary")
    expect((status, headers["content-type"], body), (200, "image/png", b"\x00\x01\xff"))


@case(AREA, "If a function fails or answers wrongly, the client gets 500 `Internal Server Error`", LAMBDA)
def errors(endpoint):
    for told in ("fail", "wrong"):
        status, _, body = request(endpoint, f"/items/7?do={told}")
        expect((status, json.loads(body)), (500, {"message": "Internal Server Error"}), told)


@case(AREA, "A preflight gets 204 with the headers of the API's CORS", CORS)
def preflight(endpoint):
    asked = [("Origin", "https://example.com"), ("Access-Control-Request-Method", "POST")]
    status, headers, _ = request(endpoint, "/echo", method="OPTIONS", headers=asked)
    expect((status, headers["access-control-allow-origin"]), (204, "https://example.com"))
    expect(sorted(headers["access-control-allow-methods"].split(",")), ["GET", "POST"])
    expect((headers["access-control-allow-headers"], headers["access-control-max-age"]), ("x-one", "60"))


@case(AREA, "With CORS of the API, the CORS headers of a function are ignored", CORS)
def cors_of_the_function(endpoint):
    _, headers, _ = request(endpoint, "/items/7?do=answer", headers=[("Origin", "https://example.com")])
    expect(headers.get_all("access-control-allow-origin"), ["https://example.com"])
    _, headers, _ = request(endpoint, "/items/7?do=answer", headers=[("Origin", "https://other.example")])
    expect(headers.get_all("access-control-allow-origin"), None, "another origin")
