#!/usr/bin/env bash
# Starting the stack compiles no crate that a build of the workspace has compiled: the stack's program and the functions
# are built with the same features. `cargo run` and the stack's own `cargo build` are asked here.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --workspace --locked
functions=()
for manifest in functions/*/Cargo.toml; do
  functions+=(--bin "$(basename "$(dirname "$manifest")")")
done
again=$({
  cargo run --locked -- --version
  cargo build --locked "${functions[@]}"
} 2>&1 | grep -E '^ +Compiling' || true)
if [ -n "$again" ]; then
  printf 'These crates are compiled a second time, with other features or another profile:\n%s\n' "$again" >&2
  exit 1
fi
echo "Nothing is compiled twice."
