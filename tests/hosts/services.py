"""The local stack with services of other emulators: `--aws-endpoint-url` and `--s3-endpoint-url`."""

import contextlib
import os
import subprocess
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
            yield ["--aws-endpoint-url", url], "test"


@contextlib.contextmanager
def moto(root):
    port, log = local.free_port(), root / "target/moto.log"
    with local.program([f"{BIN}/moto_server", "-H", "127.0.0.1", "-p", str(port)], log) as process:
        url = f"http://127.0.0.1:{port}"
        local.until_it_answers(url, process, log)
        yield ["--s3-endpoint-url", url], "test"


@contextlib.contextmanager
def containers(root):
    compose = ["docker", "compose", "--file", root / "localstack/compose.yaml", "--profile", "minio"]
    subprocess.run([*compose, "up", "--wait"], check=True)
    try:
        options = ["--aws-endpoint-url", "http://localhost:4566", "--s3-endpoint-url", "http://localhost:9000"]
        yield options, "parley-local"
    finally:
        subprocess.run([*compose, "down", "--volumes"], check=True)


@contextlib.contextmanager
def started(root, host):
    emulator = {"localstack": containers, "ministack-services": ministack, "moto-s3": moto}[host]
    # Each knows credentials whose access key and secret key are the same word.
    with (
        emulator(root) as (options, word),
        local.stack(root, *options, AWS_ACCESS_KEY_ID=word, AWS_SECRET_ACCESS_KEY=word) as ready,
    ):
        yield {"PARLEY_URL": ready["url"], "PARLEY_WS_URL": ready["websocketUrl"]}
