#!/usr/bin/env bash
# The size of each function as it is deployed, and the instructions that it takes until it asks for its first event.
# Neither depends on the speed of the machine. tests/footprint.txt has the figures; one that grew by more than a
# twentieth fails. `tests/footprint.sh --write` notes the present ones. The functions are built as `just build` does it for
# this machine, by cargo-lambda.
#
# Functions start here as in the local stack: their endpoints have no TLS. With TLS they also read the machine's root
# certificates, whose number is the machine's affair.
set -euo pipefail
cd "$(dirname "$0")/.."
noted=tests/footprint.txt

cargo lambda build --release --locked $(awk '!/^#/ { print "--bin", $1 }' "$noted")
exec python3 - "$noted" "${1:-}" <<'PYTHON'
import http.server, os, re, signal, subprocess, sys, tempfile, threading, zipfile

noted, mode = sys.argv[1:]
built = os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "lambda")


def zipped(program):
    """The size of the archive that is deployed, in bytes."""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.write(program, "bootstrap")
        return file.tell()


class RuntimeApi(http.server.BaseHTTPRequestHandler):
    """Takes the first request for an event, and never answers it."""

    def do_GET(self):
        self.server.asked.set()
        self.server.over.wait()

    def log_message(self, *_):
        pass


def environment(address):
    """Settings with which every function starts. No call is made to the endpoint."""
    endpoint = "http://127.0.0.1:1"
    return {
        "PATH": os.environ["PATH"],
        "AWS_LAMBDA_RUNTIME_API": address,
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": "group",
        "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": endpoint,
        "STACK_NAME": "stack",
        "CONNECTIONS_TABLE": "connections",
        "CHAT_TABLE": "chat",
        "MAX_CLIENTS": "50",
        "LEASE_SECONDS": "60",
        "FIRST_MESSAGE_SECONDS": "60",
        "MEDIA_BUCKET": "media",
        "MEDIA_ENDPOINT_URL": endpoint,
        "MAX_MEDIA_BYTES": "1000",
        "PRESIGN_SECONDS": "900",
        "QUEUE_URL": endpoint + "/1/queue.fifo",
        "MAX_PENDING_PER_CLIENT": "10",
        "MAX_TEXT_BYTES": "16384",
        "OIDC_ISSUER": endpoint,
        "OIDC_AUDIENCE": "audience",
        "LLM_PROVIDER": "mock",
        "LLM_BASE_URL": endpoint,
        "LLM_CONTEXT_TOKENS": "8000",
        "LLM_CONTEXT_MESSAGES": "60",
        "MOCK_LATENCY_MS": "0",
    }


def instructions(program):
    """The instructions of all threads until the first request for an event."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), RuntimeApi)
    server.daemon_threads = True
    server.asked, server.over = threading.Event(), threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    counter = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program]
    address = "127.0.0.1:%d" % server.server_address[1]
    process = subprocess.Popen(counter, env=environment(address), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    asked = server.asked.wait(60)
    process.send_signal(signal.SIGTERM if asked else signal.SIGKILL)
    said = process.communicate()[0].decode()
    server.over.set()
    server.shutdown()
    counted = re.search(r"Collected : (\d+)", said)
    if not asked or not counted:
        sys.exit(f"{program} did not ask for an event:\n{said}")
    return int(counted[1])


rows, problems = [], []
lines = open(noted).read().splitlines()
print(f"{'function':<16}{'zipped KB':>11}{'noted':>8}{'thousand instructions':>23}{'noted':>8}")
for line in lines:
    if line.startswith("#"):
        continue
    name, noted_kb, noted_kilo = line.split()
    program = os.path.abspath(os.path.join(built, name, "bootstrap"))
    kb, kilo = zipped(program) // 1024, instructions(program) // 1000
    rows.append((name, kb, kilo))
    print(f"{name:<16}{kb:>11}{noted_kb:>8}{kilo:>23}{noted_kilo:>8}")
    for what, now, before in [("KB zipped", kb, int(noted_kb)), ("thousand instructions to start", kilo, int(noted_kilo))]:
        if now > before * 1.05:
            problems.append(f"{name} has {now} {what}; {before} are noted")
if mode == "--write":
    head = [line for line in lines if line.startswith("#")]
    body = [f"{name} {kb} {kilo}" for name, kb, kilo in rows]
    open(noted, "w").write("\n".join(head + body) + "\n")
elif problems:
    sys.exit("\n".join(problems) + f"\nIf that is meant, note it: tests/footprint.sh --write, and commit {noted}")
PYTHON
