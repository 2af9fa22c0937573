"""WebSocket APIs, with the Python package websockets and boto3."""

import contextlib
import json
import uuid

from suite import PATIENCE, Differs, case, error_of, eventually, expect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

GUIDE = "https://docs.aws.amazon.com/apigateway/latest/developerguide"
ROUTES = f"{GUIDE}/apigateway-websocket-api-develop-routes.html"
CONNECT = f"{GUIDE}/apigateway-websocket-api-route-keys-connect-disconnect.html"
SUBPROTOCOL = f"{GUIDE}/websocket-connect-route-subprotocol.html"
CONNECTIONS = f"{GUIDE}/apigateway-how-to-call-websocket-api-connections.html"
LIMITS = f"{GUIDE}/apigateway-execution-service-websocket-limits-table.html"
RESPONSES = f"{GUIDE}/apigateway-websocket-api-route-response.html"
BINARY = f"{GUIDE}/websocket-api-develop-binary-media-types.html"
AUTHORIZER = f"{GUIDE}/apigateway-websocket-api-lambda-auth.html"
CONTEXT = f"{GUIDE}/apigateway-websocket-api-mapping-template-reference.html"
MANGUM = "https://github.com/Kludex/mangum/issues/128"
MIDDY = "https://github.com/middyjs/middy/issues/1219"
AREA = "WebSocket"


@contextlib.contextmanager
def connected(url, query="", **options):
    with connect(f"{url}{query}", open_timeout=PATIENCE, close_timeout=PATIENCE, max_size=None, **options) as socket:
        yield socket


def ask(socket, **message):
    """Sends a message, and gives the answer."""
    socket.send(json.dumps(message))
    return hear(socket)


def hear(socket):
    try:
        return json.loads(socket.recv(timeout=PATIENCE))
    except TimeoutError:
        raise Differs("no frame came") from None


def own_id(socket):
    return ask(socket, action="tell")["requestContext"]["connectionId"]


def refusal(url, query="", **options):
    """The status of a handshake that does not succeed."""
    try:
        with connected(url, query, **options):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def close_of(socket):
    """Code and reason of the server's close."""
    try:
        while True:
            socket.recv(timeout=PATIENCE)
    except TimeoutError:
        raise Differs("the connection stays open") from None
    except ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")


def noted(endpoint, note, kind):
    """The event that a function has written down."""
    key = {"pk": {"S": note}, "sk": {"S": kind}}
    table = endpoint.client("dynamodb")
    item = eventually(
        lambda: table.get_item(TableName="conformance", Key=key, ConsistentRead=True).get("Item"), f"a {kind} event"
    )
    return json.loads(item["event"]["S"])


@case(AREA, "A handshake whose `$connect` answers 2xx succeeds", CONNECT)
def handshake(endpoint):
    expect(refusal(endpoint.open_url, "?status=204"), 101)


@case(AREA, "A handshake gets the status with which `$connect` refuses it", CONNECT)
def refused(endpoint):
    expect(refusal(endpoint.open_url, "?status=418"), 418)


@case(AREA, "A handshake whose `$connect` fails gets 502", CONNECT)
def failed_connect(endpoint):
    expect(refusal(endpoint.open_url, "?fail"), 502)


@case(AREA, "A handshake without the identity source of the authorizer gets 401", AUTHORIZER)
def no_identity(endpoint):
    expect(refusal(endpoint.closed_url), 401)


@case(AREA, "A handshake whose authorizer raises `Unauthorized` gets 401", AUTHORIZER)
def unauthorized(endpoint):
    expect(refusal(endpoint.closed_url, "?token=unauthorized"), 401)


@case(AREA, "A handshake that the authorizer's policy denies gets 403", AUTHORIZER)
def denied(endpoint):
    expect(refusal(endpoint.closed_url, "?token=bad"), 403)


@case(AREA, "Events after the handshake have the principal and the context of the authorizer, as strings", AUTHORIZER)
def authorizer_context(endpoint):
    with connected(endpoint.closed_url, "?token=good") as socket:
        given = ask(socket, action="tell")["requestContext"]["authorizer"]
    expected = {"principalId": "somebody", "number": "1", "truth": "true", "text": "text"}
    expect({name: given.get(name) for name in expected}, expected)


@case(AREA, "The subprotocol is the one that `$connect` returns", SUBPROTOCOL)
def subprotocol(endpoint):
    with connected(endpoint.open_url, subprotocols=["first", "second"]) as socket:
        expect(socket.subprotocol, "first")


@case(AREA, "The event of `$connect` has headers and query, and neither body nor path", CONNECT)
def connect_event(endpoint):
    note = f"note-{uuid.uuid4()}"
    with connected(endpoint.open_url, f"?note={note}&a=1&a=2", additional_headers={"X-Own-Header": "own"}):
        event = noted(endpoint, note, "CONNECT")
    expect(event["headers"].get("X-Own-Header"), "own", "header in the client's case")
    expect(event["multiValueQueryStringParameters"]["a"], ["1", "2"])
    expect(event["queryStringParameters"]["a"], "2", "the last value")
    expect(event["isBase64Encoded"], False)
    expect([name for name in ("body", "path", "httpMethod") if name in event], [])


@case(AREA, "The event of a message has exactly `requestContext`, `body` and `isBase64Encoded`", CONTEXT)
def message_event(endpoint):
    with connected(endpoint.open_url) as socket:
        event = ask(socket, action="tell", more="é")
    expect(sorted(event), ["body", "isBase64Encoded", "requestContext"])
    expect(json.loads(event["body"]), {"action": "tell", "more": "é"})


@case(AREA, "`requestContext` of a message has route, type, ids and times", CONTEXT)
def message_context(endpoint):
    with connected(endpoint.open_url) as socket:
        context = ask(socket, action="tell")["requestContext"]
    known = {"routeKey": "tell", "eventType": "MESSAGE", "messageDirection": "IN", "stage": "open"}
    expect({name: context.get(name) for name in known}, known)
    texts = ("connectionId", "requestId", "extendedRequestId", "messageId", "requestTime", "domainName", "apiId")
    expect([name for name in texts if not isinstance(context.get(name), str)], [])
    expect([name for name in ("connectedAt", "requestTimeEpoch") if not isinstance(context.get(name), int)], [])
    expect(context["extendedRequestId"], context["requestId"])
    expect("sourceIp" in context["identity"], True)


@case(AREA, "The event of `$disconnect` has the client's close code and reason", CONNECT)
def disconnect_event(endpoint):
    note = f"note-{uuid.uuid4()}"
    with connected(endpoint.open_url) as socket:
        note = own_id(socket)
        socket.close(1000, "as told")
    context = noted(endpoint, note, "DISCONNECT")["requestContext"]
    expect((context["disconnectStatusCode"], context["disconnectReason"]), (1000, "as told"))
    expect(context["routeKey"], "$disconnect")


@case(AREA, "A message whose selection finds no route goes to `$default`", ROUTES)
def default_route(endpoint):
    with connected(endpoint.open_url) as socket:
        expect(ask(socket, action="unknown")["requestContext"]["routeKey"], "$default")


@case(AREA, "A message that is no JSON goes to `$default`", ROUTES)
def no_json(endpoint):
    with connected(endpoint.open_url) as socket:
        socket.send("no JSON")
        event = hear(socket)
    expect((event["requestContext"]["routeKey"], event["body"]), ("$default", "no JSON"))


@case(AREA, "Without a route for a message the client gets a `Forbidden` frame and stays connected", ROUTES)
def forbidden(endpoint):
    with connected(endpoint.closed_url, "?token=good") as socket:
        answer = ask(socket, action="unknown")
        expect((answer.get("message"), sorted(answer)), ("Forbidden", ["connectionId", "message", "requestId"]))
        expect("requestContext" in ask(socket, action="tell"), True)


@case(AREA, "If a function fails, the client gets an `Internal server error` frame and stays connected", MIDDY)
def function_error(endpoint):
    with connected(endpoint.open_url) as socket:
        answer = ask(socket, action="tell", do="fail")
        expected = ("Internal server error", ["connectionId", "message", "requestId"])
        expect((answer.get("message"), sorted(answer)), expected)
        expect("requestContext" in ask(socket, action="tell"), True)


@case(AREA, "An answer that is no proxy response is an `Internal server error` frame", MIDDY)
def malformed_answer(endpoint):
    with connected(endpoint.open_url) as socket:
        expect(ask(socket, action="tell", do="wrong").get("message"), "Internal server error")


@case(AREA, "If an integration takes too long, the client gets an `Endpoint request timed out` frame", MANGUM)
def timed_out(endpoint):
    with connected(endpoint.open_url) as socket:
        expect(ask(socket, action="slow", do="sleep").get("message"), "Endpoint request timed out")


@case(AREA, "A route without a route response sends the client nothing", RESPONSES)
def quiet(endpoint):
    with connected(endpoint.open_url) as socket:
        socket.send(json.dumps({"action": "quiet"}))
        expect(ask(socket, action="tell")["requestContext"]["routeKey"], "tell", "the first frame")


@case(AREA, "A function posts to `https://{domainName}/{stage}` of its event", CONNECTIONS)
def post_from_function(endpoint):
    with connected(endpoint.open_url) as socket:
        socket.send(json.dumps({"action": "quiet", "do": "post"}))
        try:
            expect(socket.recv(timeout=PATIENCE), "posted")
        except TimeoutError:
            raise Differs("no frame came") from None


@case(AREA, "A message of 32 KB in one frame is taken", LIMITS)
def frame_limit(endpoint):
    with connected(endpoint.open_url) as socket:
        message = json.dumps({"action": "tell", "filler": ""})
        message = message[:-2] + "x" * (32 * 1024 - len(message)) + message[-2:]
        socket.send(message)
        expect(len(hear(socket)["body"]), 32 * 1024)


@case(AREA, "A frame above 32 KB closes the connection with 1009", LIMITS)
def frame_too_large(endpoint):
    with connected(endpoint.open_url) as socket:
        with contextlib.suppress(ConnectionClosed):
            socket.send("x" * (32 * 1024 + 1))
        expect(close_of(socket)[0], 1009)


@case(AREA, "A message of 128 KB in fragments is taken", LIMITS)
def message_limit(endpoint):
    with connected(endpoint.open_url) as socket:
        socket.send(iter(["x" * (32 * 1024)] * 4))
        expect(len(hear(socket)["body"]), 128 * 1024)


@case(AREA, "A message above 128 KB in fragments closes the connection with 1009", LIMITS)
def message_too_large(endpoint):
    with connected(endpoint.open_url) as socket:
        with contextlib.suppress(ConnectionClosed):
            socket.send(iter(["x" * (32 * 1024)] * 4 + ["x"]))
        expect(close_of(socket)[0], 1009)


@case(AREA, "A binary frame closes the connection with 1003", BINARY)
def binary_frame(endpoint):
    with connected(endpoint.open_url) as socket:
        socket.send(b"binary")
        expect(close_of(socket)[0], 1003)


@case(AREA, "`@connections` POST sends the client a frame", CONNECTIONS)
def post(endpoint):
    with connected(endpoint.open_url) as socket:
        management = endpoint.client("apigatewaymanagementapi")
        answer = management.post_to_connection(ConnectionId=own_id(socket), Data=b"posted")
        expect(answer["ResponseMetadata"]["HTTPStatusCode"], 200)
        expect(socket.recv(timeout=PATIENCE), "posted")


@case(AREA, "`@connections` GET shows since when a client is connected, and from where", CONNECTIONS)
def get(endpoint):
    with connected(endpoint.open_url) as socket:
        shown = endpoint.client("apigatewaymanagementapi").get_connection(ConnectionId=own_id(socket))
    expect([name for name in ("ConnectedAt", "LastActiveAt", "Identity") if not shown.get(name)], [])
    expect("SourceIp" in shown["Identity"], True)


@case(AREA, "`@connections` DELETE answers 204 and closes with 1000, `Connection Closed Normally`", CONNECTIONS)
def delete(endpoint):
    with connected(endpoint.open_url) as socket:
        management = endpoint.client("apigatewaymanagementapi")
        answer = management.delete_connection(ConnectionId=own_id(socket))
        expect(answer["ResponseMetadata"]["HTTPStatusCode"], 204)
        expect(close_of(socket), (1000, "Connection Closed Normally"))


@case(AREA, "`@connections` answers 410 `GoneException` for a client that has left", CONNECTIONS)
def gone(endpoint):
    with connected(endpoint.open_url) as socket:
        connection = own_id(socket)
    noted(endpoint, connection, "DISCONNECT")
    management = endpoint.client("apigatewaymanagementapi")
    for call in (management.post_to_connection, management.get_connection, management.delete_connection):
        data = {"Data": b"x"} if call == management.post_to_connection else {}
        expect(error_of(call, ConnectionId=connection, **data), (410, "GoneException"))


@case(AREA, "`@connections` POST answers 413 above 128 KB", LIMITS)
def payload_too_large(endpoint):
    with connected(endpoint.open_url) as socket:
        connection = own_id(socket)
        management = endpoint.client("apigatewaymanagementapi")
        management.post_to_connection(ConnectionId=connection, Data=b"x" * 128 * 1024)
        data = b"x" * (128 * 1024 + 1)
        expect(error_of(management.post_to_connection, ConnectionId=connection, Data=data)[0], 413)
