"""`$connect`: takes a place for the user, or refuses with a status. Taking over a place that is still held is no part
of the benchmark, so it is always refused."""

import random
import re

from dynamo import flag, now_ms, number, setting, slot_key, text, transact, ttl, user_key

TABLE = setting("CONNECTIONS_TABLE")
MAX_CLIENTS = int(setting("MAX_CLIENTS"))
FIRST_MESSAGE_MS = int(setting("FIRST_MESSAGE_SECONDS")) * 1000
SUBPROTOCOL = "parley.v1"
MAX_ATTEMPTS = 10


def take(user: str, connection: str, client: dict, slot: int, ended: dict | None) -> list[dict | None] | None:
    """Takes both items or neither. `ended` is the user's item, if its lease has ended by itself."""
    now = now_ms()
    expires_at = now + FIRST_MESSAGE_MS
    names = {"#ttl": "ttl"}
    values = {
        ":slot": number(slot),
        ":connection": text(connection),
        ":expires": number(expires_at),
        ":no": flag(False),
        ":ttl": ttl(expires_at),
        ":now": number(now),
        ":none": {"M": {}},
    }
    update = (
        "SET slot_no = :slot, connection_id = :connection, expires_at = :expires, spoken = :no, #ttl = :ttl, "
        "connected_at = :now, pending = if_not_exists(pending, :none), untold = if_not_exists(untold, :none), "
    )
    if ended:
        update += "replaced.#old = :now"
        condition = "connection_id = :old AND expires_at <= :now"
        names["#old"] = ended["connection_id"]["S"]
        values[":old"] = ended["connection_id"]
    else:
        update += "replaced = if_not_exists(replaced, :none)"
        condition = "attribute_not_exists(pk) OR expires_at = :released"
        values[":released"] = number(0)
    gone = []
    for name, value in client.items():
        if value:
            update += f", {name} = :{name}"
            values[f":{name}"] = text(value)
        else:
            gone.append(name)
    # This is an update and not a put, because it must keep the messages that still wait for an answer.
    user_item = {
        "TableName": TABLE,
        "Key": {"pk": user_key(user)},
        "ConditionExpression": condition,
        "UpdateExpression": f"{update} REMOVE {', '.join(gone)}" if gone else update,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    slot_item = {
        "TableName": TABLE,
        "Item": {
            "pk": slot_key(slot),
            "slot_no": number(slot),
            "user_id": text(user),
            "connection_id": text(connection),
            "expires_at": number(expires_at),
            "spoken": flag(False),
            "ttl": ttl(expires_at),
        },
        "ConditionExpression": "attribute_not_exists(pk) OR expires_at <= :now",
        "ExpressionAttributeValues": {":now": number(now)},
    }
    return transact([{"Update": user_item}, {"Put": slot_item}])


def place(user: str, connection: str, client: dict) -> int:
    slot = random.randrange(MAX_CLIENTS)
    ended = None
    for _ in range(MAX_ATTEMPTS):
        refused = take(user, connection, client, slot, ended)
        if refused is None:
            return 200
        held = refused[0]
        if held is None:
            slot = random.randrange(MAX_CLIENTS)
        elif not held:
            ended = None  # deleted meanwhile
        elif held["connection_id"]["S"] == connection:
            return 200  # an earlier try of this very call, whose answer was lost
        elif int(held["expires_at"]["N"]) > now_ms():
            return 409
        else:
            ended = None if held["expires_at"]["N"] == "0" else held  # 0: its client gave it back
    return 503


def handler(event: dict) -> dict:
    context, query = event["requestContext"], event.get("queryStringParameters") or {}
    session = query.get("session")
    is_valid = session is None or re.fullmatch(r"[A-Za-z0-9_-]{1,64}", session)
    if not is_valid or query.get("takeover", "false") not in ("true", "false"):
        return {"statusCode": 400}
    client = {"session_id": session, "username": context["authorizer"].get("username")}
    status = place(context["authorizer"]["principalId"], context["connectionId"], client)
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]
    selected = {"Sec-WebSocket-Protocol": SUBPROTOCOL} if status == 200 and SUBPROTOCOL in offered else {}
    return {"statusCode": status, "headers": selected}
