"""A case is a function that finds out one fact about an endpoint, as a client can see it."""

import dataclasses
import time

# How long anything may take on a loaded machine, in seconds.
PATIENCE = 20

CASES = []


@dataclasses.dataclass(frozen=True)
class Case:
    area: str
    # What is true of AWS.
    fact: str
    # Where AWS, or somebody who has measured it, says so.
    source: str
    run: object


class Differs(Exception):
    """The endpoint does not behave as the fact says."""


def case(area, fact, source):
    def add(run):
        CASES.append(Case(area, fact, source, run))
        return run

    return add


def expect(actual, expected, what=""):
    if actual != expected:
        raise Differs(f"{what}{': ' if what else ''}{actual!r} instead of {expected!r}")


def eventually(look, what):
    """Looks until there is something, because nothing tells when."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise Differs(f"waited {PATIENCE} s for {what}")


def error_of(call, **arguments):
    """Status and code of the error that a call of boto3 gives."""
    from botocore.exceptions import ClientError

    try:
        call(**arguments)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
    raise Differs("no error")
