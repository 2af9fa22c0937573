#!/usr/bin/env bash
# Every permission in the template is needed by a call that the tests make. A permission that no call needs is too much.
# Without one that a call needs, the local stack refuses that call and a test fails.
#
# The tests write the permissions that functions use to the file $PERMISSIONS_LOG. `tests/permissions.sh FILE` compares
# such a file with the template. Without a file it runs the tests first.
set -euo pipefail
cd "$(dirname "$0")/.."

log=${1:-}
if [ -z "$log" ]; then
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  PERMISSIONS_LOG="$log" cargo test --workspace --locked
fi
cargo build --quiet --locked
exec python3 - "$log" <<'PYTHON'
import json, subprocess, sys, urllib.request

# Models other than the mock and keys in other services have no local stand-in. Their policies are in no local stack.
stack = subprocess.Popen(
    ["target/debug/parley", "--ephemeral", "--port", "0", "--no-site-build"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
)
try:
    ready = json.loads(stack.stdout.readline() or "{}")
    if not ready.get("ready"):
        sys.exit("The stack does not start:\n" + stack.stderr.read().decode())
    with urllib.request.urlopen(ready["url"] + "/_local/state") as answer:
        # Nothing is used yet.
        granted = {tuple(grant) for grant in json.load(answer)["permissions"]["unused"]}
finally:
    stack.terminate()
    stack.communicate()
used = {tuple(line.split()) for line in open(sys.argv[1])}
# SAM adds these for a queue as a source. The poller uses them, and no call of the function.
granted = {grant for grant in granted if not (grant[1].startswith("sqs:") and grant[2] == "*")}
unused = sorted(granted - used)
print(f"{len(granted)} permissions in the template, {len(granted) - len(unused)} of them used by the tests")
if unused:
    sys.exit("No call needs these:\n" + "\n".join("  " + " ".join(grant) for grant in unused))
PYTHON
