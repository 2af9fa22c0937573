"""The functions in `cargo lambda watch`, behind a local stack that has everything else."""

import contextlib
import pathlib
import tempfile
import urllib.request

import local


@contextlib.contextmanager
def started(root, _host="cargo-lambda"):
    """Starts both. Gives the variables that the tests need."""
    port = local.free_port()
    with local.stack(root, "--invoke-endpoint", f"http://127.0.0.1:{port}") as ready, tempfile.TemporaryDirectory() as folder:
        environment = pathlib.Path(folder) / ".env"
        with urllib.request.urlopen(ready["url"] + "/_local/environment") as answer:
            environment.write_bytes(answer.read())
        command = ["cargo", "lambda", "watch", "--invoke-address", "127.0.0.1", "--invoke-port", str(port)]
        command += ["--env-file", environment, "--concurrency", "4", "--quiet"]
        log = root / "target/cargo-lambda.log"
        with local.program(command, log, cwd=root) as process:
            local.until_it_answers(f"http://127.0.0.1:{port}", process, log)
            yield {"PARLEY_URL": ready["url"], "PARLEY_WS_URL": ready["websocketUrl"]}
