"""The clients that people have: the AWS CLI, AWS's SDK for JavaScript, wscat, a browser."""

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import uuid

import browser
from botocore.exceptions import ClientError
from cases_services import Queue
from cases_websocket import CONNECTIONS, CONNECT, SUBPROTOCOL, connected, noted, own_id
from suite import PATIENCE, Differs, case, eventually, expect

HERE = pathlib.Path(__file__).parent
CLI = "https://docs.aws.amazon.com/cli/latest/reference"
JAVASCRIPT = "https://docs.aws.amazon.com/AWSJavaScriptSDK/v3/latest/client"
WSCAT = "https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-wscat.html"
BROWSER = "https://websockets.spec.whatwg.org/"
AREA = "Clients"


def missing():
    """What is not on this machine, with what to do."""
    if not (HERE / "node_modules/wscat").is_dir():
        yield "the packages of package.json: npm ci --prefix tests/conformance"
    if not shutil.which("aws", path=str(pathlib.Path(sys.executable).parent)):
        yield "the AWS CLI: pip install -r tests/conformance/requirements.txt"
    if not browser.program():
        yield "Chromium"


def run(command, endpoint, **options):
    """Exit code, standard output and standard error of a program."""
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 60} | options
    done = subprocess.run(command, env=endpoint.environment(), **options)
    return done.returncode, done.stdout, done.stderr


def aws(endpoint, service, *arguments):
    # Version 1 does not read the variable with SQS's address.
    url = endpoint.services.get(service)
    place = ["--endpoint-url", url] if url else []
    return run([pathlib.Path(sys.executable).parent / "aws", service, *arguments, *place], endpoint)


def sdk(endpoint, call, argument):
    status, out, error = run(["node", HERE / "clients.mjs", call, argument], endpoint)
    if status:
        raise Differs(error)
    return json.loads(out)


CLI_POST = f"{CLI}/apigatewaymanagementapi/post-to-connection.html"


@case(AREA, "AWS CLI: `apigatewaymanagementapi post-to-connection`", CLI_POST)
def cli_post(endpoint):
    with connected(endpoint.open_url) as socket:
        call = ["apigatewaymanagementapi", "post-to-connection", "--data", "by the CLI"]
        expect(aws(endpoint, *call, "--connection-id", own_id(socket)), (0, "", ""))
        expect(socket.recv(timeout=PATIENCE), "by the CLI")


@case(AREA, "AWS CLI: `lambda invoke` writes the answer into a file", f"{CLI}/lambda/invoke.html")
def cli_invoke(endpoint):
    call = ["lambda", "invoke", "--function-name", "conformance-web", "--payload", '{"a":1}', "/dev/stderr"]
    status, out, answer = aws(endpoint, *call)
    expect((status, json.loads(out)["StatusCode"], json.loads(answer)), (0, 200, {"a": 1}))


@case(AREA, "AWS CLI: `sqs send-message` and `receive-message`", f"{CLI}/sqs/send-message.html")
def cli_queue(endpoint):
    Queue(endpoint, "conformance-dead")  # It has no messages of other cases from here on.
    url = json.loads(aws(endpoint, "sqs", "get-queue-url", "--queue-name", "conformance-dead")[1])["QueueUrl"]
    text = str(uuid.uuid4())
    expect(aws(endpoint, "sqs", "send-message", "--queue-url", url, "--message-body", text)[0], 0)
    received = json.loads(aws(endpoint, "sqs", "receive-message", "--queue-url", url, "--wait-time-seconds", "10")[1])
    expect(received["Messages"][0]["Body"], text)
    handle = received["Messages"][0]["ReceiptHandle"]
    expect(aws(endpoint, "sqs", "delete-message", "--queue-url", url, "--receipt-handle", handle)[0], 0)


@case(AREA, "AWS CLI: an error has the code of the service and its exit code", f"{CLI}/dynamodb/describe-table.html")
def cli_error(endpoint):
    status, _, error = aws(endpoint, "dynamodb", "describe-table", "--table-name", "nobody")
    # Version 2 has 254.
    expect((status, "ResourceNotFoundException" in error), (255, True), error)


@case(AREA, "SDK for JavaScript: `PostToConnection` reaches the client", f"{JAVASCRIPT}/apigatewaymanagementapi/")
def sdk_post(endpoint):
    with connected(endpoint.open_url) as socket:
        expect(sdk(endpoint, "post", own_id(socket))["status"], 200)
        expect(socket.recv(timeout=PATIENCE), "by the SDK")


@case(AREA, "SDK for JavaScript: `GetConnection` has dates", f"{JAVASCRIPT}/apigatewaymanagementapi/")
def sdk_get(endpoint):
    with connected(endpoint.open_url) as socket:
        answer = sdk(endpoint, "get", own_id(socket))["answer"]
    expect([name for name in ("ConnectedAt", "LastActiveAt") if not answer.get(name)], [])


@case(AREA, "SDK for JavaScript: a client that has left is a `GoneException`", f"{JAVASCRIPT}/apigatewaymanagementapi/")
def sdk_gone(endpoint):
    with connected(endpoint.open_url) as socket:
        connection = own_id(socket)
    noted(endpoint, connection, "DISCONNECT")
    expect(sdk(endpoint, "post", connection), {"status": 410, "error": "GoneException"})


@case(AREA, "SDK for JavaScript: a failed condition is a `ConditionalCheckFailedException`", f"{JAVASCRIPT}/dynamodb/")
def sdk_condition(endpoint):
    answer = sdk(endpoint, "condition", str(uuid.uuid4()))
    expect(answer, {"status": 400, "error": "ConditionalCheckFailedException"})


@case(AREA, "wscat: a message is sent and its answer shown", WSCAT)
def wscat(endpoint):
    program = HERE / "node_modules/.bin/wscat"
    command = [program, "--connect", endpoint.open_url, "--execute", '{"action":"tell"}', "--wait", "2"]
    # It ends when its input does.
    reading, writing = os.pipe()
    try:
        status, out, _ = run(command, endpoint, stdin=reading)
    finally:
        os.close(reading)
        os.close(writing)
    expect((status, '"routeKey": "tell"' in out), (0, True), out)


PAGE = """new Promise((resolve) => {
  const socket = new WebSocket(%s, ["first", "second"]);
  const seen = {};
  socket.onopen = () => { seen.protocol = socket.protocol; socket.send(%s); };
  socket.onmessage = (message) => { seen.message = message.data; %s };
  socket.onclose = (close) => resolve(JSON.stringify({ ...seen, code: close.code, reason: close.reason }));
})"""


def in_browser(url, message, then=""):
    return json.loads(browser.evaluate(PAGE % (json.dumps(url), json.dumps(message), then)))


@case(AREA, "Browser: the subprotocol is agreed, a message is answered, the socket is closed", SUBPROTOCOL)
def browser_socket(endpoint):
    seen = in_browser(endpoint.open_url, '{"action":"tell"}', 'socket.close(1000, "done");')
    expect((seen["protocol"], seen["code"], seen["reason"]), ("first", 1000, "done"))
    expect(json.loads(seen["message"])["requestContext"]["routeKey"], "tell")


@case(AREA, "Browser: a refused handshake closes with 1006", CONNECT)
def browser_refused(endpoint):
    expect(in_browser(f"{endpoint.open_url}?status=403", "")["code"], 1006)


@case(AREA, "Browser: the close of `@connections` DELETE is clean", CONNECTIONS)
def browser_closed(endpoint):
    management = endpoint.client("apigatewaymanagementapi")
    note = str(uuid.uuid4())

    def delete():
        try:
            return management.delete_connection(ConnectionId=connection)
        except ClientError:
            return None  # Its handshake has not ended yet.

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        page = pool.submit(in_browser, f"{endpoint.open_url}?note={note}", '{"action":"quiet"}')
        connection = noted(endpoint, note, "CONNECT")["requestContext"]["connectionId"]
        eventually(delete, "the connection to be closed")
        seen = page.result()
    expect((seen["code"], seen["reason"]), (1000, "Connection Closed Normally"))
