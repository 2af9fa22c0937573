#!/usr/bin/env bash
# Tries the REST API with requests made from its own OpenAPI document, valid and not: nothing may fail on our side, and
# every response must be a documented one. Before, the document itself must be valid. Takes a running stack's URL, or
# starts one; EXAMPLES bounds it, SCHEMATHESIS and OPENAPI_SPEC_VALIDATOR name the programs.
set -euo pipefail
cd "$(dirname "$0")/.."

url=${1:-}
if [ -z "$url" ]; then
  ready=$(mktemp)
  cargo build --bins --locked --quiet
  target/debug/parley --port 0 --ephemeral --no-site-build --param MockLatencyMs=0 >"$ready" &
  stack=$!
  trap 'kill $stack; wait $stack; rm -f "$ready"' EXIT
  until grep -q '"ready":true' "$ready"; do
    kill -0 $stack || exit 1
    sleep 0.2
  done
  url=$(python3 -c 'import json, sys; print(json.loads(sys.stdin.read().splitlines()[-1])["url"])' <"$ready")
fi

token=$(python3 - "$url" <<'PYTHON'
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1] + "/_local/token", b'{"username":"schemathesis","groups":["admin"]}', {"content-type": "application/json"})
print(json.load(urllib.request.urlopen(request))["accessToken"])
PYTHON
)

python3 -c 'import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())' "$url/openapi.json" |
  "${OPENAPI_SPEC_VALIDATOR:-openapi-spec-validator}" -

# What makes a cursor good, no schema can say: so that valid requests are accepted, it can't check.
"${SCHEMATHESIS:-schemathesis}" --config-file tests/schemathesis.toml run "$url/openapi.json" \
  --header "Authorization: Bearer $token" \
  --checks all --exclude-checks positive_data_acceptance \
  --max-examples "${EXAMPLES:-50}" --continue-on-failure --no-color
