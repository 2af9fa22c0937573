#!/usr/bin/env python3
"""Runs the end-to-end tests against a stack whose functions or services are elsewhere, and counts the cases.

  tests/hosts/run.py cargo-lambda     functions in `cargo lambda watch`, services in the local stack
  tests/hosts/run.py ministack        everything on MiniStack, deployed from infra/template.yaml
  tests/hosts/run.py ministack-services
                                      the local stack with MiniStack's DynamoDB, SQS and S3 (--aws-endpoint-url)
  tests/hosts/run.py moto-s3          the local stack with moto's S3 (--s3-endpoint-url)
  tests/hosts/run.py localstack       the local stack with LocalStack and MinIO of localstack/compose.yaml
  tests/hosts/run.py url              the stack at PARLEY_URL and PARLEY_WS_URL, with tokens from PARLEY_TOKEN

All tests share that stack. A test that needs what it does not have is left out with its reason: the harness says so
(tests/src/host.rs), or the file tests/hosts/HOST.txt does. The counts are added to target/hosts.txt.
"""

import argparse
import collections
import contextlib
import importlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import cases

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The module that starts each host.
HOSTS = {
    "cargo-lambda": "cargo_lambda",
    "ministack": "ministack",
    "ministack-services": "services",
    "moto-s3": "services",
    "localstack": "services",
    "url": None,
}


def known(host):
    """Cases that this host can't do: `file::case` and the reason."""
    path = ROOT / "tests/hosts" / f"{host}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    listed = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in lines if line and not line.startswith("#"))
    for name in listed:
        file, case = name.split("::", 1)
        source = ROOT / "tests/tests" / f"{file}.rs"
        if not source.exists() or f"fn {case.split('::')[-1]}(" not in source.read_text():
            sys.exit(f"{path} names {name}, which is no case")
    return listed


@contextlib.contextmanager
def cargo(command, environment):
    """Cargo with its tests, which end with this program."""
    tests = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        yield tests
    finally:
        if tests.poll() is None:
            os.killpg(tests.pid, signal.SIGKILL)
            tests.wait()


def run(host, variables, filters, listed):
    """Gives the outcome of each case: `passed`, `failed` or the reason for leaving it out."""
    outcomes = {} if listed else dict(known(host))
    skipped = [part for name in outcomes for part in ("--skip", name.split("::", 1)[1])]
    with tempfile.TemporaryDirectory() as folder:
        left_out = pathlib.Path(folder) / "left-out"
        names = [part for name in cases.files() for part in ("--test", name)]
        command = ["cargo", "test", "--workspace", "--locked", "--no-fail-fast", *names, "--"]
        command += ["--test-threads=1", "--color=never", *skipped, *filters]
        # Colours would hide which file a case is of.
        environment = os.environ | variables | {"PARLEY_LEFT_OUT": str(left_out), "CARGO_TERM_COLOR": "never"}
        failed, output, announced, told = [], [], 0, 0
        began = time.monotonic()
        with cargo(command, environment) as tests:
            for line, case, outcome in cases.read(tests.stdout):
                output.append(line)
                announced += cases.announced(line)
                if case:
                    told += 1
                    if outcome == "FAILED":
                        failed.append(case)
                    else:
                        outcomes[case] = {"ok": "passed", "ignored": "ignored"}[outcome]
                    seen = outcomes.get(case, "failed or left out")
                    print(f"{time.monotonic() - began:5.0f} s  {case}: {seen}", flush=True)
            tests.wait()
        reasons = {}
        if left_out.exists():
            reasons = dict(line.split("\t", 1) for line in left_out.read_text().splitlines())
    for name in failed:
        outcomes[name] = reasons.get(name.split("::", 1)[1], "failed")
    # Cases that were left out have ended the tests too, which is no reason to show everything.
    if tests.returncode and (not failed or "failed" in outcomes.values()):
        print("".join(output))
    if tests.returncode and not failed:
        sys.exit(f"The tests did not run: cargo test gave {tests.returncode}")
    # A test program that was aborted has told nothing of the cases that it had left.
    if told != announced:
        print("".join(output))
        sys.exit(f"{announced - told} of {announced} cases have no outcome: see the output above")
    return outcomes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host", choices=HOSTS)
    parser.add_argument("--listed", action="store_true", help="run the cases of HOST.txt too")
    parser.add_argument("filters", nargs="*", help="run only cases whose names contain one of these")
    options = parser.parse_intermixed_args()
    # So that nothing is left behind by the end of a CI run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped"))

    subprocess.run(["cargo", "build", "--workspace", "--locked", "--quiet"], cwd=ROOT, check=True)
    with contextlib.ExitStack() as stack:
        variables = {}
        if module := HOSTS[options.host]:
            variables = stack.enter_context(importlib.import_module(module).started(ROOT, options.host))
        elif not os.environ.get("PARLEY_URL"):
            sys.exit("Set PARLEY_URL to the address of the REST API: the output ApiUrl of the stack")
        outcomes = run(options.host, variables, options.filters, options.listed)

    passed = [name for name, outcome in outcomes.items() if outcome == "passed"]
    failed = [name for name, outcome in outcomes.items() if outcome == "failed"]
    reasons = collections.Counter(outcome for outcome in outcomes.values() if outcome not in ("passed", "failed"))
    for reason, count in reasons.most_common():
        print(f"left out: {count:3}  {reason}")
    summary = f"{options.host}: {len(outcomes)} cases, {len(passed)} passed, {sum(reasons.values())} left out, {len(failed)} failed"
    if options.filters:
        print(summary)
    else:
        cases.note(summary)
    for name in failed:
        print(f"failed: {name}")
    if not passed or failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
