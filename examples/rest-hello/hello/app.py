"""Greets, and counts words. The events are those of a REST API's proxy integration."""

import base64
import json
from collections import Counter


def handler(event, context):
    if event["resource"] == "/words":
        return count(event)
    # A path without variables has null here, and not an empty map.
    name = (event["pathParameters"] or {}).get("name", "world")
    return answer(200, {"message": f"Hello {name}", "stage": event["requestContext"]["stage"]})


def count(event):
    text = event["body"] or ""
    if event["isBase64Encoded"]:
        text = base64.b64decode(text).decode()
    if not text.strip():
        return answer(400, {"message": "Send a text"})
    return answer(200, Counter(text.lower().split()))


def answer(status, body):
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body, ensure_ascii=False),
    }
