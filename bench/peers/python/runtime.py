"""Runs the handler of the module that the argument names: takes the next event from the Lambda Runtime API, handles it,
and posts the result.

As on Lambda, the function's module is imported, so that Python finds its bytecode. It would compile a script each time.
"""

import json
import os
import sys
import traceback
from http.client import HTTPConnection
from importlib import import_module
from urllib.parse import urlsplit


def call(connection: HTTPConnection, method: str, path: str, body: str = "", headers: dict | None = None):
    connection.request(method, path, body.encode(), headers or {})
    response = connection.getresponse()
    text = response.read().decode()
    if response.status >= 300:
        raise RuntimeError(f"{method} {path}: {response.status} {text}")
    return response, text


def run(handler) -> None:
    # Lambda gives a host and a port. A local stack may give a whole URL with a path.
    given = os.environ["AWS_LAMBDA_RUNTIME_API"]
    api = urlsplit(given if "://" in given else f"http://{given}")
    invocation = f"{api.path.rstrip('/')}/2018-06-01/runtime/invocation"
    # http.client keeps the connection open between requests.
    connection = HTTPConnection(api.hostname, api.port)
    while True:
        response, event = call(connection, "GET", f"{invocation}/next")
        request = response.headers["Lambda-Runtime-Aws-Request-Id"]
        try:
            result = json.dumps(handler(json.loads(event)), ensure_ascii=False)
        except Exception as error:
            traceback.print_exc()
            kind = type(error).__name__
            result = json.dumps({"errorType": kind, "errorMessage": str(error)})
            headers = {"Lambda-Runtime-Function-Error-Type": kind}
            call(connection, "POST", f"{invocation}/{request}/error", result, headers)
        else:
            call(connection, "POST", f"{invocation}/{request}/response", result)


run(import_module(sys.argv[1]).handler)
