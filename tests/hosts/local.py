"""What the hosts share: a free port, the local stack, and programs that end with the tests."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def stack(root, *options, **variables):
    """The local stack, with these options and variables of its environment. Gives its ready line."""
    command = [root / "target/debug/parley", "--ephemeral", "--port", "0", "--no-site-build", "--param", "MockLatencyMs=0"]
    # As in the Rust tests: what each of several messages in a row gets is tested.
    command.append("--websocket-in-order")
    # Its authority for certificates is with the data of its user, and tests leave nothing there.
    environment = os.environ | {"XDG_DATA_HOME": str(root / "target/tmp")} | variables
    process = subprocess.Popen([*command, *options], cwd=root, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        ready = json.loads(process.stdout.readline() or "{}")
        if not ready.get("ready"):
            raise SystemExit("The local stack does not start")
        yield ready
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def program(command, log, **options):
    """A program with its own session, because some leave children behind."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, **options
        )
    try:
        yield process
    finally:
        for end in (signal.SIGINT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, end)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)


def until_it_answers(url, process, log):
    """Waits for any answer of an HTTP server."""
    while process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{process.args[0]} does not start:\n{log.read_text()}")
