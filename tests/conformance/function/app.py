"""The functions of the conformance suite. A client says what they are to do, and they show what they were given."""

import json
import os
import time

import boto3


def socket(event, _context):
    context = event["requestContext"]
    if context["eventType"] != "MESSAGE":
        return connect(event)
    try:
        message = json.loads(event["body"])
    except ValueError:
        message = {}
    match message.get("do") if isinstance(message, dict) else None:
        case "fail":
            raise RuntimeError("as told")
        case "wrong":
            return {"statusCode": 200, "body": "wrong", "unknown": True}
        case "sleep":
            time.sleep(2)
        case "post":
            # As the samples of AWS do.
            endpoint = f"https://{context['domainName']}/{context['stage']}"
            management = boto3.client("apigatewaymanagementapi", endpoint_url=endpoint)
            management.post_to_connection(ConnectionId=context["connectionId"], Data="posted")
    return {"statusCode": 200, "body": json.dumps(event)}


def connect(event):
    context = event["requestContext"]
    # Headers in the client's own case.
    headers = {name.lower(): value for name, value in event.get("headers", {}).items()}
    query = event.get("queryStringParameters") or {}
    table = boto3.client("dynamodb")
    key = {"pk": {"S": query.get("note", context["connectionId"])}, "sk": {"S": context["eventType"]}}
    table.put_item(TableName=os.environ["TABLE"], Item=key | {"event": {"S": json.dumps(event)}})
    if "fail" in query:
        raise RuntimeError("as told")
    answer = {"statusCode": int(query.get("status", 200))}
    if offered := headers.get("sec-websocket-protocol"):
        answer["headers"] = {"Sec-WebSocket-Protocol": offered.split(",")[0].strip()}
    return answer


def authorizer(event, _context):
    token = event["queryStringParameters"]["token"]
    if token == "unauthorized":
        raise Exception("Unauthorized")
    effect = "Allow" if token == "good" else "Deny"
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": event["methodArn"]}
    return {
        "principalId": "somebody",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {"number": 1, "truth": True, "text": "text"},
    }


def web(event, _context):
    if "requestContext" not in event:  # Invoked by Lambda's API.
        print("a line of the log")
        if event.get("do") == "fail":
            raise RuntimeError("as told")
        return event
    match (event.get("queryStringParameters") or {}).get("do"):
        case "fail":
            raise RuntimeError("as told")
        case "infer":
            return {"inferred": True}
        case "wrong":
            return {"statusCode": "not a number", "body": "wrong"}
        case "answer":
            headers = {"X-Own": "1", "Access-Control-Allow-Origin": "https://own.example"}
            return {"statusCode": 201, "headers": headers, "cookies": ["a=1", "b=2; Secure"], "body": "made"}
        case "binary":
            headers = {"content-type": "image/png"}
            return {"statusCode": 200, "isBase64Encoded": True, "body": "AAH/", "headers": headers}
    return {"statusCode": 200, "body": json.dumps(event)}
