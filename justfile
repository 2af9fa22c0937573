# Recipes that people and CI share. `just` lists them. A recipe installs nothing: `.ci/run` says what each needs.

set positional-arguments

[private]
default:
    @just --list --unsorted

# Start the stack: `just run --port 9000`.
run *options:
    cargo run --locked -- "$@"

# The stack with its functions in `cargo lambda watch`, which builds them again when a source is saved. Needs cargo-lambda.
watch *options:
    localstack/watch "$@"

# Every test that needs nothing but Rust.
test *options:
    cargo test --workspace --locked "$@"

# Format Rust and TOML.
fmt:
    cargo fmt --all
    taplo format

# Format, lints, documentation, spelling, unused dependencies, licences and sources, the template.
lint: lint-rust lint-text lint-template

# What needs Rust alone.
lint-rust:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

# What needs taplo, typos, cargo-machete and cargo-deny.
lint-text:
    taplo format --check
    typos
    cargo machete --with-metadata
    cargo deny --locked check bans licenses sources

# The template, as linters of CloudFormation, of SAM and of serverless applications see it, and scanners for weaknesses.
# Needs cfn-lint, cfn-lint-serverless, aws-sam-cli, checkov and jq.
lint-template:
    cfn-lint --append-rules cfn_lint_serverless.rules --include-checks I --template infra/template.yaml
    SAM_CLI_TELEMETRY=0 sam validate --lint --template-file infra/template.yaml
    checkov --file infra/template.yaml --framework cloudformation --compact --quiet --skip-download
    python3 -B tests/template/nag.py
    python3 -B -m unittest discover --start-directory tests/template

# Known weaknesses of the dependencies. It asks the advisory database, so it needs GitHub.
advisories:
    cargo deny --locked check advisories

# Runs stacks under faults: `just campaign --seeds 1..1000`, `just campaign check FILE`. See docs/reliability.md.
campaign *options:
    cargo run --locked --bin campaign -- "$@"

# The page: lints, types, unit tests. Needs Node.js.
web:
    npm run lint --prefix web
    npm run check --prefix web
    npm test --prefix web

# The page in a browser, against real stacks. Needs Chromium.
e2e *options:
    cargo build --workspace --locked
    npm run e2e --prefix web -- "$@"

# The end-to-end tests on another host: `just hosts cargo-lambda`. See docs/testing.md for what each needs.
hosts host *options:
    python3 -B tests/hosts/run.py "$@"

# Which facts about AWS are true here, as real clients see it, for docs/conformance.md. See docs/testing.md for its needs.
conformance *options:
    cargo build --workspace --locked
    python3 -B tests/conformance/run.py "$@"

# `just watch` gives a new answer within seconds of a change. Needs cargo-lambda.
watch-test:
    python3 -B -m unittest discover --start-directory tests/hosts

# The end-to-end tests with the services of localstack/compose.yaml: LocalStack, and MinIO for S3. Needs Docker.
localstack-test *options:
    python3 -B tests/hosts/run.py localstack "$@"

# The cost of streaming Markdown, as ratios.
bench:
    npm run bench --prefix web

# The speed of a message, of Parley and of its peers: `just load closed alone --details`. See docs/performance.md.
load *options:
    cargo run --locked --release --bin bench -- "$@"

# Requests made from the REST API's own OpenAPI document. Needs schemathesis and openapi-spec-validator.
api:
    tests/schemathesis.sh

# The functions, as a deployment builds them: `just build`, or `just build x86_64`. Needs aws-sam-cli and cargo-lambda.
build architecture="arm64":
    cd infra && SAM_CLI_TELEMETRY=0 sam build --parameter-overrides "Architecture={{ architecture }}"

# Each crate of the local stack could be published as it is.
package:
    cargo package --no-verify --allow-dirty --quiet --locked -p samovar -p samovar-eventbridge -p samovar-host -p samovar-services -p samovar-sqs -p samovar-template

# Starting the stack compiles no crate that a build of the workspace has compiled.
built-once:
    tests/built-once.sh

# The size of each function and the instructions of its start, against tests/footprint.txt. Needs cargo-lambda and valgrind.
footprint *options:
    tests/footprint.sh "$@"

# Every permission in the template is used by a test: `just permissions [FILE]`. Needs Python.
permissions *options:
    tests/permissions.sh "$@"

# Plants bugs and shows which check catches each: `just planted [NAME…]`. See docs/testing.md.
planted *options:
    tests/planted.sh "$@"
