"""Takes orders, and lets two departments work on each of them."""

import base64
import json
import os

import boto3

table = boto3.resource("dynamodb").Table(os.environ["TABLE"])
sns = boto3.client("sns")


def place(event, context):
    # A body whose type is not one of JSON or text comes in base64.
    body = base64.b64decode(event["body"]) if event["isBase64Encoded"] else event["body"]
    order = json.loads(body) | {"id": context.aws_request_id}
    sns.publish(
        TopicArn=os.environ["TOPIC"],
        Message=json.dumps(order),
        MessageAttributes={"kind": {"DataType": "String", "StringValue": order["kind"]}},
    )
    return answer(202, {"id": order["id"]})


def show(event, context):
    item = table.get_item(Key={"id": event["pathParameters"]["id"]}, ConsistentRead=True).get("Item", {})
    return answer(200, {"billed": item.get("billed"), "shipped": item.get("shipped")})


def bill(event, context):
    for record in event["Records"]:
        # This queue has the envelope of SNS around the order.
        note(json.loads(json.loads(record["body"])["Message"]), "billed")


def ship(event, context):
    for record in event["Records"]:
        note(json.loads(record["body"]), "shipped")


def note(order, what):
    table.update_item(
        Key={"id": order["id"]},
        UpdateExpression="SET #what = :item",
        ExpressionAttributeNames={"#what": what},
        ExpressionAttributeValues={":item": order["item"]},
    )
    print(f"{what} {order['item']}")


def answer(status, body):
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
