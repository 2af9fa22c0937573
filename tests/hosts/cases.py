"""The cases of the end-to-end tests, in the output of `cargo test`.

As a program, it passes on such an output and adds the counts of the local stack to target/hosts.txt:
`cargo test --workspace 2>&1 | tests/hosts/cases.py`.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def files():
    """The test files that speak to a stack."""
    folder = ROOT / "tests/tests"
    sources = sorted([*folder.glob("*.rs"), *folder.glob("*/main.rs")])
    speaking = [file for file in sources if re.search(r"\bStack(::|Options)", file.read_text())]
    return [file.parent.name if file.name == "main.rs" else file.stem for file in speaking]


def read(lines):
    """Gives each line, with the case and its outcome (`ok`, `FAILED` or `ignored`) if the line has them."""
    file = ""
    for line in lines:
        case = outcome = None
        if match := re.match(r"\s+Running (?:unittests )?(\S+)", line):
            file = match[1].removeprefix("tests/").removesuffix(".rs").removesuffix("/main")
        elif re.match(r"\s+Doc-tests ", line):
            file = ""
        elif match := re.match(r"test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", line):
            case, outcome = f"{file}::{match[1]}", match[2]
        yield line, case, outcome


def announced(line):
    """The number of cases that a test program is about to run, if the line says it."""
    match = re.match(r"running (\d+) tests?$", line)
    return int(match[1]) if match else 0


def note(summary):
    """Adds a line to the counts of all hosts, which CI prints at its end."""
    print(summary)
    with (ROOT / "target/hosts.txt").open("a") as file:
        file.write(summary + "\n")


def main():
    of_stacks = set(files())
    counts = {"ok": 0, "FAILED": 0, "ignored": 0}
    # What a test prints may be anything.
    sys.stdin.reconfigure(errors="replace")
    for line, case, outcome in read(sys.stdin):
        sys.stdout.write(line)
        sys.stdout.flush()
        if case and case.split("::", 1)[0] in of_stacks:
            counts[outcome] += 1
    total = sum(counts.values())
    note(f"local: {total} cases, {counts['ok']} passed, {counts['ignored']} left out, {counts['FAILED']} failed")


if __name__ == "__main__":
    main()
