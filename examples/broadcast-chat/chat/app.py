"""The routes of the chat. A connection is an item of the table for as long as its client is there."""

import json
import os

import boto3

table = boto3.resource("dynamodb").Table(os.environ["CONNECTIONS_TABLE"])
clients = boto3.client("apigatewaymanagementapi", endpoint_url=os.environ["CONNECTIONS_URL"])


def handler(event, context):
    return ROUTES[event["requestContext"]["routeKey"]](event)


def connect(event):
    table.put_item(Item={"connectionId": event["requestContext"]["connectionId"]})
    return {"statusCode": 200}


def disconnect(event):
    forget(event["requestContext"]["connectionId"])
    return {"statusCode": 200}


def send_message(event):
    text = json.loads(event["body"]).get("data", "")
    for connection_id in connections():
        try:
            clients.post_to_connection(ConnectionId=connection_id, Data=text.encode())
        except clients.exceptions.GoneException:
            # $disconnect is sent on best effort, so a client can be gone without it.
            forget(connection_id)
    return {"statusCode": 200}


def connections():
    page = {}
    while True:
        scanned = table.scan(ProjectionExpression="connectionId", **page)
        for item in scanned["Items"]:
            yield item["connectionId"]
        if "LastEvaluatedKey" not in scanned:
            return
        page = {"ExclusiveStartKey": scanned["LastEvaluatedKey"]}


def forget(connection_id):
    table.delete_item(Key={"connectionId": connection_id})


ROUTES = {"$connect": connect, "$disconnect": disconnect, "sendmessage": send_message}
