"""`sendMessage`: admits a message, queues it and answers `accepted`. Media, parents other than the latest item and
repeated ids are no part of the benchmark, so they are refused."""

import json
import re
import traceback
from datetime import datetime, timezone

import boto3
from botocore.config import Config

from dynamo import db, flag, now_ms, number, pause, setting, slot_key, text, transact, ttl, user_key

LEASES = setting("CONNECTIONS_TABLE")
CHAT = setting("CHAT_TABLE")
QUEUE_URL = setting("QUEUE_URL")
LEASE_MS = int(setting("LEASE_SECONDS")) * 1000
MAX_PENDING = int(setting("MAX_PENDING_PER_CLIENT"))
MAX_TEXT_BYTES = int(setting("MAX_TEXT_BYTES"))
MAX_ATTEMPTS = 32
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

sqs = boto3.client("sqs", config=Config(connect_timeout=4, read_timeout=5, retries={"mode": "standard"}))


class Refused(Exception):
    """A rule of the contract that refuses a frame."""

    def __init__(self, code: str, message: str, **more):
        self.frame = {"code": code, "message": message, **more}


def bad_request(message: str) -> Refused:
    return Refused("bad_request", message)


def lease_expired() -> Refused:
    return Refused("lease_expired", "This connection no longer holds a place; connect again")


def no_conversation() -> Refused:
    return Refused("conversation_not_found", "There is no such conversation")


def parse(body: str) -> dict:
    try:
        frame = json.loads(body)
    except ValueError:
        raise bad_request("The frame can't be read as JSON") from None
    if not isinstance(frame, dict):
        raise bad_request("A frame must be one JSON object")
    return frame


def is_uuid(value) -> bool:
    return isinstance(value, str) and UUID.fullmatch(value) is not None


def check(frame: dict) -> None:
    for name in ("id", "conversationId", "text", "parentId"):
        if not isinstance(frame.get(name), str | None):
            raise bad_request(f"{name} must be a string")
    if not is_uuid(frame.get("id")):
        raise bad_request("id must be a UUID")
    size = len((frame.get("text") or "").encode())
    if size == 0 or frame.get("media"):
        raise bad_request("text is missing, or there is media")
    if size > MAX_TEXT_BYTES:
        raise Refused("too_large", f"The text has {size} bytes; at most {MAX_TEXT_BYTES} are allowed")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", frame.get("conversationId") or ""):
        raise no_conversation()


def is_held(lease: dict | None, connection: str) -> bool:
    return bool(lease) and lease["connection_id"]["S"] == connection and int(lease["expires_at"]["N"]) > now_ms()


def lease_and_conversation(user: str, conversation: str) -> tuple[dict | None, dict | None]:
    """Reads the sender's lease and the conversation's end in one request for two tables."""
    conversation_key = {"pk": user_key(user), "sk": text(f"conv#{conversation}")}
    output = db.batch_get_item(
        RequestItems={
            LEASES: {"Keys": [{"pk": user_key(user)}], "ConsistentRead": True},
            CHAT: {"Keys": [conversation_key], "ConsistentRead": True},
        }
    )
    if output.get("UnprocessedKeys"):
        raise RuntimeError("BatchGetItem left keys for another call")
    found = output["Responses"]
    return next(iter(found.get(LEASES, [])), None), next(iter(found.get(CHAT, [])), None)


def parent_of(parent_id: str | None, last_id: str | None, last_seq: int) -> tuple[str, int]:
    if parent_id == "" or (parent_id is None and last_seq == 0):
        return "", 0
    if last_id is not None and (parent_id or last_id).lower() == last_id.lower():
        return last_id, last_seq
    raise bad_request("parentId must be the id of the latest item")


def admitting(user: str, lease: dict, frame: dict, seq: int, parent: tuple[str, int], created_at: int) -> list[dict]:
    """One transaction decides whether the message is accepted."""
    key, conversation, now = frame["id"].lower(), frame["conversationId"], number(created_at)
    renewed = {
        ":connection": lease["connection_id"],
        ":now": now,
        ":expires": number(created_at + LEASE_MS),
        ":ttl": ttl(created_at + LEASE_MS),
        ":yes": flag(True),
    }
    user_item = {
        "TableName": LEASES,
        "Key": {"pk": user_key(user)},
        "ConditionExpression": "connection_id = :connection AND expires_at > :now AND size(pending) < :max",
        "UpdateExpression": "SET expires_at = :expires, #ttl = :ttl, spoken = :yes, pending.#message = :now",
        "ExpressionAttributeNames": {"#ttl": "ttl", "#message": key},
        "ExpressionAttributeValues": {**renewed, ":max": number(MAX_PENDING)},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    slot_item = {
        "TableName": LEASES,
        "Key": {"pk": slot_key(int(lease["slot_no"]["N"]))},
        "ConditionExpression": "connection_id = :connection AND expires_at > :now",
        "UpdateExpression": "SET expires_at = :expires, #ttl = :ttl, spoken = :yes",
        "ExpressionAttributeNames": {"#ttl": "ttl"},
        "ExpressionAttributeValues": renewed,
    }
    numbering = {
        "TableName": CHAT,
        "Key": {"pk": user_key(user), "sk": text(f"conv#{conversation}")},
        "ConditionExpression": "last_seq = :last",
        "UpdateExpression": "SET last_seq = :next, last_id = :id, updated_at = :now",
        "ExpressionAttributeValues": {
            ":last": number(seq - 1),
            ":next": number(seq),
            ":id": text(frame["id"]),
            ":now": now,
        },
    }
    named = {"conversation_id": text(conversation), "seq": number(seq)}
    naming = {
        "TableName": CHAT,
        "Item": {"pk": user_key(user), "sk": text(f"msg#{key}"), **named},
        "ConditionExpression": "attribute_not_exists(pk)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    storing = {
        "TableName": CHAT,
        "Item": {
            "pk": text(f"conv#{conversation}"),
            "sk": text(f"{seq:012}"),
            **named,
            "id": text(frame["id"]),
            "user_id": text(user),
            "role": text("user"),
            "text": text(frame["text"]),
            "status": text("queued"),
            "created_at": now,
            "parent_id": text(parent[0]),
            "parent_seq": number(parent[1]),
        },
        "ConditionExpression": "attribute_not_exists(pk)",
    }
    return [{"Update": user_item}, {"Update": slot_item}, {"Update": numbering}, {"Put": naming}, {"Put": storing}]


def admit(user: str, connection: str, frame: dict) -> tuple[int, str, int]:
    """Gives the message's number, its parent and its time."""
    for attempt in range(MAX_ATTEMPTS):
        lease, tail = lease_and_conversation(user, frame["conversationId"])
        if not is_held(lease, connection):
            raise lease_expired()
        if tail is None:
            raise no_conversation()
        last_seq, created_at = int(tail["last_seq"]["N"]), now_ms()
        parent = parent_of(frame.get("parentId"), tail.get("last_id", {}).get("S"), last_seq)
        refused = transact(admitting(user, lease, frame, last_seq + 1, parent, created_at))
        if refused is None:
            return last_seq + 1, parent[0], created_at
        held, slot_refused, _, id_refused, _ = refused
        if held is not None and not is_held(held, connection):
            raise lease_expired()
        if id_refused is not None:
            raise bad_request("This id was used before; give every message an id of its own")
        if held is not None:
            rule = f"{len(held['pending']['M'])} messages still wait for an answer and at most {MAX_PENDING} may"
            raise Refused("too_many_pending", f"{rule}; wait for an answer", retryAfterMs=1000)
        if slot_refused is not None:
            raise lease_expired()
        # Another message or answer of this conversation took the number.
        pause(2 << min(attempt, 5))
    raise RuntimeError(f"The conversation's number was lost to other writers {MAX_ATTEMPTS} times")


def accept(user: str, connection: str, frame: dict) -> dict:
    check(frame)
    seq, parent, created_at = admit(user, connection, frame)
    key, conversation = frame["id"], frame["conversationId"]
    job = {"userId": user, "conversationId": conversation, "messageId": key, "seq": seq}
    sqs.send_message(
        QueueUrl=QUEUE_URL,
        # A conversation is answered in order, and a message is queued once.
        MessageGroupId=conversation,
        MessageDeduplicationId=key.lower(),
        MessageBody=compact(job),
    )
    created = datetime.fromtimestamp(created_at / 1000, timezone.utc).isoformat(timespec="milliseconds")
    message = {
        "id": key,
        "conversationId": conversation,
        "role": "user",
        "type": "text",
        "text": frame["text"],
        "status": "queued",
        "parentId": parent,
        "createdAt": created.replace("+00:00", "Z"),
    }
    return {"type": "accepted", "id": key, "duplicate": False, "message": message}


def compact(value: dict) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def handler(event: dict) -> dict:
    context, error = event["requestContext"], {"type": "error"}
    try:
        frame = parse(event.get("body") or "")
        if is_uuid(frame.get("id")):
            error["id"] = frame["id"]
        answer = accept(context["authorizer"]["principalId"], context["connectionId"], frame)
    except Refused as refused:
        answer = {**error, **refused.frame}
    except Exception:
        traceback.print_exc()
        answer = {**error, "code": "internal", "message": "Something went wrong on our side; try again"}
    return {"statusCode": 200, "body": compact(answer)}
