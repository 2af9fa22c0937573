"""What both functions need of DynamoDB: the client, transactions, and the forms of keys and values."""

import os
import random
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

# Codes that mean "somebody else is writing this" or "slow down".
CONTENTION = (
    "TransactionConflict",
    "TransactionInProgress",
    "Throttling",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
)
MAX_ATTEMPTS = 10

# The client is made at init, and it keeps its connections open between events.
db = boto3.client("dynamodb", config=Config(connect_timeout=4, read_timeout=8, retries={"mode": "standard"}))


def text(value: str) -> dict:
    return {"S": value}


def number(value: int | str) -> dict:
    return {"N": str(value)}


def flag(value: bool) -> dict:
    return {"BOOL": value}


def user_key(user: str) -> dict:
    return text(f"user#{user}")


def slot_key(slot: int) -> dict:
    return text(f"slot#{slot:05}")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def ttl(expires_at: int) -> dict:
    """Ended items stay for a day, because they count unanswered messages."""
    return number(expires_at // 1000 + 1 + 24 * 3600)


def pause(ceiling_ms: int) -> None:
    """Two tries that met once spread out, so that they do not meet again."""
    time.sleep(random.uniform(0, ceiling_ms / 1000))


def setting(name: str) -> str:
    if not os.environ.get(name):
        raise SystemExit(f"{name} is not set; set it in the function's environment")
    return os.environ[name]


def transact(writes: list[dict]) -> list[dict | None] | None:
    """Writes all or nothing. Gives None or, by their position in the list, the items whose condition failed."""
    for attempt in range(MAX_ATTEMPTS):
        try:
            db.transact_write_items(TransactItems=writes)
            return None
        except ClientError as error:
            reasons = error.response.get("CancellationReasons", [])
            codes = [error.response["Error"]["Code"], *(reason.get("Code", "") for reason in reasons)]
            # Contention is checked first: if there is any, not every condition may have been evaluated.
            if not any(code.startswith(CONTENTION) for code in codes):
                if "ConditionalCheckFailed" not in codes:
                    raise
                return [
                    reason.get("Item", {}) if reason.get("Code") == "ConditionalCheckFailed" else None
                    for reason in reasons
                ]
        pause(10 << min(attempt, 6))
    raise RuntimeError(f"TransactWriteItems lost to other writers {MAX_ATTEMPTS} times")
