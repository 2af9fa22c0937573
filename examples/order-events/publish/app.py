"""Puts an event on the bus for each new order in the table."""

import json
import os

import boto3

events = boto3.client("events")


def handler(event, context):
    entries = []
    for record in event["Records"]:
        order = record["dynamodb"]["NewImage"]
        detail = {"id": order["id"]["S"], "total": float(order["total"]["N"])}
        entries.append(
            {
                "EventBusName": os.environ["BUS"],
                "Source": "shop.orders",
                "DetailType": "Order placed",
                "Detail": json.dumps(detail),
            }
        )
    # A call takes ten entries.
    for first in range(0, len(entries), 10):
        answer = events.put_events(Entries=entries[first : first + 10])
        if answer["FailedEntryCount"]:
            raise RuntimeError(f"Some events were not taken: {answer['Entries']}")
