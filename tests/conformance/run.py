#!/usr/bin/env python3
"""Finds out which facts about AWS are true of an endpoint, as clients see them, and writes docs/conformance.md.

  tests/conformance/run.py                     this repository's local stack
  tests/conformance/run.py samovar ministack   two endpoints; each has a column
  tests/conformance/run.py aws                 the stack `conformance` in an account
  tests/conformance/run.py --check             fails if the document does not say what has been seen
  tests/conformance/run.py --only FIFO         only cases with this word; nothing is written

Columns of endpoints that are not run stay as they are. For an endpoint elsewhere:

  run.py --open-url URL --closed-url URL --http-url URL --management URL --endpoint-url URL NAME
"""

import argparse
import contextlib
import importlib
import pathlib
import signal
import sys
import time

import endpoints
from suite import CASES, Differs

MODULES = ("cases_websocket", "cases_http", "cases_services", "cases_clients")
DOCUMENT = endpoints.ROOT / "docs/conformance.md"
TITLES = {"samovar": "samovar", "ministack": "MiniStack 1.5.33", "aws": "AWS"}
YES, NO = "yes", "**no**"


def run(name, endpoint, only):
    """What has been seen of each fact."""
    seen = {}
    for case in CASES:
        if only and only.lower() not in f"{case.area} {case.fact}".lower():
            continue
        began, why = time.monotonic(), ""
        try:
            case.run(endpoint)
        except Differs as difference:
            why = str(difference)
        # A client that gives up has its own words for it.
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        seen[case.fact] = NO if why else YES
        outcome, note = ("no ", f": {why[:300]}") if why else ("yes", "")
        print(f"{name}  {time.monotonic() - began:5.1f} s  {outcome}  {case.area}: {case.fact}{note}", flush=True)
    return seen


def columns(text):
    """The columns of the document, by their titles."""
    known, titles = {}, []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| Fact"):
            titles = cells[2:]
        elif line.startswith("| ") and len(cells) > 2:
            for title, cell in zip(titles, cells[2:]):
                known.setdefault(title, {})[cells[0]] = cell
    return known


def document(seen):
    titles = [title for title in TITLES.values() if title in seen]
    titles += sorted(title for title in seen if title not in titles)
    lines = [
        "# Facts about AWS that clients can see",
        "",
        "`just conformance` has written this: each line is a case of `tests/conformance/`, which finds out with a real",
        "client whether the fact is true of an endpoint. [How to run it](testing.md#conformance).",
        "",
        "| | " + " | ".join(titles) + " |",
        "|---|" + "---|" * len(titles),
    ]
    count = lambda title: sum(cell == YES for cell in seen[title].values())
    lines.append("| true of | " + " | ".join(f"{count(title)} of {len(CASES)}" for title in titles) + " |")
    area = None
    for case in CASES:
        if case.area != area:
            area = case.area
            head = "| Fact | Source | " + " | ".join(titles) + " |"
            lines += ["", f"## {area}", "", head, "|---|---|" + "---|" * len(titles)]
        cells = [seen[title].get(case.fact, "not run") for title in titles]
        lines.append(f"| {case.fact} | [source]({case.source}) | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def named(options):
    """An endpoint that the command line describes."""
    services = {name: options.endpoint_url for name in ("lambda", "dynamodb", "sqs")}
    described = endpoints.Endpoint(
        open_url=options.open_url,
        closed_url=options.closed_url,
        http_url=options.http_url.rstrip("/"),
        management=options.management,
        services=services,
    )
    return contextlib.nullcontext(described)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("endpoints", nargs="*", default=["samovar"], metavar="ENDPOINT")
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if the document differs")
    parser.add_argument("--only", help="run only cases whose fact contains this")
    for option in ("--open-url", "--closed-url", "--http-url", "--management", "--endpoint-url"):
        parser.add_argument(option)
    options = parser.parse_args()
    for name in options.endpoints:
        if name not in endpoints.ENDPOINTS and not (options.open_url and options.http_url and options.management):
            parser.error(f"{name} is none of {', '.join(endpoints.ENDPOINTS)}: give its addresses")
    # So that nothing is left behind by the end of a CI run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped"))
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    for module in MODULES:
        importlib.import_module(module)
    if len({case.fact for case in CASES}) != len(CASES):
        sys.exit("Two cases have the same fact")
    if lacking := list(importlib.import_module("cases_clients").missing()):
        sys.exit("This machine does not have " + "; ".join(lacking))

    before = DOCUMENT.read_text() if DOCUMENT.exists() else ""
    seen = columns(before)
    for name in options.endpoints:
        with endpoints.ENDPOINTS.get(name, lambda: named(options))() as endpoint:
            seen[TITLES.get(name, name)] = run(name, endpoint, options.only)
    if options.only:
        return
    after = document(seen)
    if not options.check:
        DOCUMENT.write_text(after)
    elif after != before:
        changed = sorted(set(after.splitlines()) ^ set(before.splitlines()))
        print("\n".join(changed))
        sys.exit(f"{DOCUMENT} does not say what has been seen: run `just conformance`")


if __name__ == "__main__":
    main()
