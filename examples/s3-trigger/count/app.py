"""Counts the words of a text that was uploaded to in/, and writes the result to out/."""

import json
from collections import Counter
from urllib.parse import unquote_plus

import boto3

s3 = boto3.client("s3")


def handler(event, context):
    for record in event["Records"]:
        bucket = record["s3"]["bucket"]["name"]
        # Events have keys in the form of URLs.
        key = unquote_plus(record["s3"]["object"]["key"])
        text = s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
        words = Counter(text.lower().split())
        result = key.replace("in/", "out/", 1).removesuffix(".txt") + ".json"
        s3.put_object(Bucket=bucket, Key=result, Body=json.dumps(words, ensure_ascii=False).encode())
        print(f"{key}: {words.total()} words")
