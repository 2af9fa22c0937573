"""Chromium without a window, which runs an expression in an empty page."""

import contextlib
import json
import shutil
import subprocess
import tempfile

from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome")


def program():
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def evaluate(expression):
    """The value of a promise in JavaScript."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program(), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        command += [f"--user-data-dir={profile}", "about:blank"]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            for line in browser.stderr:
                if "DevTools listening on " in line:
                    address = line.split("DevTools listening on ")[1].strip()
                    break
            else:
                raise RuntimeError("Chromium does not start")
            # Nobody else reads what it says.
            with contextlib.ExitStack() as stack:
                devtools = stack.enter_context(connect(address, max_size=None))
                return run(devtools, expression)
        finally:
            browser.terminate()
            browser.stderr.close()
            browser.wait()


def run(devtools, expression):
    number = 0

    def call(method, session=None, **parameters):
        nonlocal number
        number += 1
        message = {"id": number, "method": method, "params": parameters}
        devtools.send(json.dumps(message | ({"sessionId": session} if session else {})))
        while True:
            answer = json.loads(devtools.recv(timeout=20))
            if answer.get("id") == number:
                return answer["result"]

    page = next(one for one in call("Target.getTargets")["targetInfos"] if one["type"] == "page")
    session = call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
    answer = call("Runtime.evaluate", session, expression=expression, awaitPromise=True, returnByValue=True)
    return answer["result"].get("value")
