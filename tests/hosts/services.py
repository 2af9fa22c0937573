"""The local stack with services of another emulator: `--aws-endpoint-url` and `--s3-endpoint-url`."""

import contextlib
import os
import sys
import tempfile

import local

# The programs beside this Python: both emulators are in its virtual environment.
BIN = os.path.dirname(sys.executable)


@contextlib.contextmanager
def ministack(root):
    port, log = local.free_port(), root / "target/ministack-services.log"
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "0"}
        environment |= {"TMPDIR": folder, "STATE_DIR": f"{folder}/state", "S3_DATA_DIR": f"{folder}/s3"}
        with local.program([f"{BIN}/ministack"], log, env=environment) as process:
            url = f"http://127.0.0.1:{port}"
            local.until_it_answers(url + "/_ministack/health", process, log)
            yield ["--aws-endpoint-url", url]


@contextlib.contextmanager
def moto(root):
    port, log = local.free_port(), root / "target/moto.log"
    with local.program([f"{BIN}/moto_server", "-H", "127.0.0.1", "-p", str(port)], log) as process:
        url = f"http://127.0.0.1:{port}"
        local.until_it_answers(url, process, log)
        yield ["--s3-endpoint-url", url]


@contextlib.contextmanager
def started(root, host):
    emulator = {"ministack-services": ministack, "moto-s3": moto}[host]
    with emulator(root) as options, local.stack(root, *options) as ready:
        yield {"PARLEY_URL": ready["url"], "PARLEY_WS_URL": ready["websocketUrl"]}
