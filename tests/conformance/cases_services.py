"""Lambda's API, SQS and DynamoDB, with boto3."""

import base64
import json
import time
import uuid

from suite import Differs, case, error_of, eventually, expect

INVOKE = "https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html"
ERRORS = "https://docs.aws.amazon.com/lambda/latest/dg/invocation-sync.html"
SQS = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest"
SEND = f"{SQS}/APIReference/API_SendMessage.html"
RECEIVE = f"{SQS}/APIReference/API_ReceiveMessage.html"
BATCH = f"{SQS}/APIReference/API_SendMessageBatch.html"
FIFO = f"{SQS}/SQSDeveloperGuide/FIFO-queues-understanding-logic.html"
DEDUPLICATION = f"{SQS}/SQSDeveloperGuide/using-messagededuplicationid-property.html"
VISIBILITY = f"{SQS}/SQSDeveloperGuide/sqs-visibility-timeout.html"
DEAD = f"{SQS}/SQSDeveloperGuide/sqs-dead-letter-queues.html"
QUEUE_URL = f"{SQS}/APIReference/API_GetQueueUrl.html"
DYNAMODB = "https://docs.aws.amazon.com/amazondynamodb/latest"
PUT = f"{DYNAMODB}/APIReference/API_PutItem.html"
TRANSACT = f"{DYNAMODB}/APIReference/API_TransactWriteItems.html"
BATCH_WRITE = f"{DYNAMODB}/APIReference/API_BatchWriteItem.html"
TTL = f"{DYNAMODB}/developerguide/ttl-expired-items.html"
LSI = f"{DYNAMODB}/developerguide/LSI.html"
QUERY = f"{DYNAMODB}/APIReference/API_Query.html"
UPDATE = f"{DYNAMODB}/APIReference/API_UpdateItem.html"


def invoke(endpoint, payload, **options):
    function = options.pop("function", "conformance-web")
    return endpoint.client("lambda").invoke(FunctionName=function, Payload=json.dumps(payload), **options)


@case("Lambda", "Invoke answers 200 with what the function returns", INVOKE)
def invoked(endpoint):
    answer = invoke(endpoint, {"a": "é"})
    expect((answer["StatusCode"], json.load(answer["Payload"])), (200, {"a": "é"}))
    expect(answer["ExecutedVersion"], "$LATEST")


@case("Lambda", "An error of the function is 200 with `X-Amz-Function-Error` and the error as payload", ERRORS)
def function_error(endpoint):
    answer = invoke(endpoint, {"do": "fail"})
    error = json.load(answer["Payload"])
    expect((answer["StatusCode"], answer.get("FunctionError")), (200, "Unhandled"))
    expect((error["errorMessage"], error["errorType"]), ("as told", "RuntimeError"))


@case("Lambda", "`LogType: Tail` gives the end of the log", INVOKE)
def log_tail(endpoint):
    log = base64.b64decode(invoke(endpoint, {}, LogType="Tail").get("LogResult", "")).decode()
    expect("a line of the log\n" in log and "START RequestId" in log and "REPORT RequestId" in log, True, log)


@case("Lambda", "The invocation type `Event` is answered with 202", INVOKE)
def event_type(endpoint):
    expect(invoke(endpoint, {}, InvocationType="Event")["StatusCode"], 202)


@case("Lambda", "The invocation type `DryRun` is answered with 204", INVOKE)
def dry_run(endpoint):
    expect(invoke(endpoint, {}, InvocationType="DryRun")["StatusCode"], 204)


@case("Lambda", "A function that is not there is 404 `ResourceNotFoundException`", INVOKE)
def no_function(endpoint):
    expect(error_of(endpoint.client("lambda").invoke, FunctionName="nobody"), (404, "ResourceNotFoundException"))


@case("Lambda", "A payload that is no JSON is 400 `InvalidRequestContentException`", INVOKE)
def no_json(endpoint):
    call = endpoint.client("lambda").invoke
    expect(error_of(call, FunctionName="conformance-web", Payload=b"{"), (400, "InvalidRequestContentException"))


class Queue:
    """A queue by its name, without the messages of cases before."""

    def __init__(self, endpoint, name):
        self.sqs = endpoint.client("sqs")
        self.url = self.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        self.take_all()

    def take_all(self):
        while messages := self.receive(MaxNumberOfMessages=10):
            for message in messages:
                self.delete(message)

    def send(self, body, **more):
        return self.sqs.send_message(QueueUrl=self.url, MessageBody=body, **more)

    def receive(self, **more):
        return self.sqs.receive_message(QueueUrl=self.url, AttributeNames=["All"], **more).get("Messages", [])

    def receive_one(self):
        messages = self.receive(WaitTimeSeconds=10)
        if not messages:
            raise Differs("no message came")
        return messages[0]

    def delete(self, message):
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])


@case("SQS", "A received message is invisible until its visibility timeout ends; its count rises each time", VISIBILITY)
def visibility(endpoint):
    queue = Queue(endpoint, "conformance.fifo")
    queue.send("one", MessageGroupId="g", MessageDeduplicationId=str(uuid.uuid4()))
    first = queue.receive_one()
    expect(queue.receive(), [])
    queue.sqs.change_message_visibility(QueueUrl=queue.url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    second = queue.receive_one()
    counts = [message["Attributes"]["ApproximateReceiveCount"] for message in (first, second)]
    expect((second["Body"], counts), ("one", ["1", "2"]))
    queue.delete(second)


@case("SQS", "A message that is received too often goes to the dead-letter queue", DEAD)
def dead_letters(endpoint):
    dead = Queue(endpoint, "conformance-dead")
    queue = Queue(endpoint, "conformance")
    queue.send("dies")
    expect(queue.receive_one()["Body"], "dies")
    # A queue moves the message when it would be received again.
    found = eventually(lambda: (queue.receive(), dead.receive())[1], "the message in the dead-letter queue")
    expect(found[0]["Body"], "dies")
    dead.delete(found[0])


@case("SQS", "A FIFO queue delivers the messages of a group in order, and none while one of them is received", FIFO)
def group(endpoint):
    queue = Queue(endpoint, "conformance.fifo")
    for body in ("1", "2"):
        queue.send(body, MessageGroupId="g", MessageDeduplicationId=str(uuid.uuid4()))
    queue.send("other", MessageGroupId="h", MessageDeduplicationId=str(uuid.uuid4()))
    first, other = queue.receive_one(), queue.receive_one()
    expect((first["Body"], other["Body"]), ("1", "other"))
    expect(queue.receive(), [])
    queue.delete(first)
    second = queue.receive_one()
    expect(second["Body"], "2")
    queue.delete(second)
    queue.delete(other)


@case("SQS", "A FIFO queue takes a message with the same deduplication id once, also after its deletion", DEDUPLICATION)
def deduplication(endpoint):
    queue = Queue(endpoint, "conformance.fifo")
    same = {"MessageGroupId": "g", "MessageDeduplicationId": str(uuid.uuid4())}
    sent = queue.send("one", **same)
    queue.delete(queue.receive_one())
    again = queue.send("other", **same)
    expect(again["MessageId"], sent["MessageId"])
    expect(queue.receive(), [])


@case("SQS", "A FIFO queue refuses a message without a group", SEND)
def no_group(endpoint):
    queue = Queue(endpoint, "conformance.fifo")
    expect(error_of(queue.send, body="x", MessageDeduplicationId="x"), (400, "MissingParameter"))


@case("SQS", "A long poll answers when a message comes", RECEIVE)
def long_poll(endpoint):
    queue = Queue(endpoint, "conformance-dead")
    queue.send("late", DelaySeconds=1)
    began = time.monotonic()
    message = queue.receive_one()
    expect((message["Body"], 0.5 < time.monotonic() - began < 8), ("late", True))
    queue.delete(message)


@case("SQS", "A batch is answered entry by entry, and one with the same id twice is refused", BATCH)
def batch(endpoint):
    queue = Queue(endpoint, "conformance-dead")
    send = lambda *entries: queue.sqs.send_message_batch(QueueUrl=queue.url, Entries=list(entries))
    answer = send({"Id": "a", "MessageBody": "a"}, {"Id": "b", "MessageBody": "b", "DelaySeconds": 1000})
    expect([one["Id"] for one in answer["Successful"]], ["a"])
    expect([(one["Id"], one["SenderFault"]) for one in answer["Failed"]], [("b", True)])
    same = {"Id": "a", "MessageBody": "a"}
    expect(error_of(lambda: send(same, same)), (400, "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"))
    queue.take_all()


@case("SQS", "A queue that is not there is 400 `AWS.SimpleQueueService.NonExistentQueue`", QUEUE_URL)
def no_queue(endpoint):
    call = endpoint.client("sqs").get_queue_url
    expect(error_of(call, QueueName="nobody"), (400, "AWS.SimpleQueueService.NonExistentQueue"))


class Table:
    """The table, with a partition of its own."""

    def __init__(self, endpoint):
        self.client = endpoint.client("dynamodb")
        self.pk = {"S": str(uuid.uuid4())}

    def key(self, sk):
        return {"pk": self.pk, "sk": {"S": sk}}

    def call(self, name, **arguments):
        return getattr(self.client, name)(TableName="conformance", **arguments)

    def put(self, sk, **more):
        attributes = more.pop("attributes", {})
        return self.call("put_item", Item=self.key(sk) | attributes, **more)

    def item(self, sk):
        return self.call("get_item", Key=self.key(sk), ConsistentRead=True).get("Item")


def cancelled(client, items):
    """Code and reasons of a transaction that is refused."""
    from botocore.exceptions import ClientError

    try:
        client.transact_write_items(TransactItems=items)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response.get("CancellationReasons", [])
    raise Differs("the transaction succeeded")


@case("DynamoDB", "A failed condition is a `ConditionalCheckFailedException`, with the item if asked for", PUT)
def condition(endpoint):
    from botocore.exceptions import ClientError

    table = Table(endpoint)
    table.put("a", attributes={"value": {"N": "1"}})
    absent = {"ConditionExpression": "attribute_not_exists(pk)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    try:
        table.put("a", **absent)
    except ClientError as error:
        expect(error.response["Error"]["Code"], "ConditionalCheckFailedException")
        expect(error.response.get("Item"), table.key("a") | {"value": {"N": "1"}})
        return
    raise Differs("the write succeeded")


@case("DynamoDB", "A transaction whose condition fails changes nothing and has a reason for each action", TRANSACT)
def transaction(endpoint):
    table = Table(endpoint)
    table.put("a")
    put = lambda sk, **more: {"Put": {"TableName": "conformance", "Item": table.key(sk), **more}}
    absent = {"ConditionExpression": "attribute_not_exists(pk)"}
    code, reasons = cancelled(table.client, [put("b"), put("a", **absent)])
    expect(code, "TransactionCanceledException")
    expect([reason["Code"] for reason in reasons], ["None", "ConditionalCheckFailed"])
    expect(table.item("b"), None)


@case("DynamoDB", "A transaction with two actions on one item is refused", TRANSACT)
def one_item_twice(endpoint):
    table = Table(endpoint)
    put = {"Put": {"TableName": "conformance", "Item": table.key("a")}}
    expect(cancelled(table.client, [put, put])[0], "ValidationException")


@case("DynamoDB", "A transaction has 100 actions at most", TRANSACT)
def hundred_actions(endpoint):
    table = Table(endpoint)
    puts = [{"Put": {"TableName": "conformance", "Item": table.key(str(number))}} for number in range(101)]
    table.client.transact_write_items(TransactItems=puts[:100])
    expect(cancelled(table.client, puts)[0], "ValidationException")


@case("DynamoDB", "A batch of writes has 25 at most", BATCH_WRITE)
def batch_of_writes(endpoint):
    table = Table(endpoint)
    puts = [{"PutRequest": {"Item": table.key(str(number))}} for number in range(26)]
    table.client.batch_write_item(RequestItems={"conformance": puts[:25]})
    write = table.client.batch_write_item
    expect(error_of(write, RequestItems={"conformance": puts}), (400, "ValidationException"))


@case("DynamoDB", "An item whose time to live is over can still be read, and is not filtered by itself", TTL)
def expired(endpoint):
    table = Table(endpoint)
    table.put("old", attributes={"expires": {"N": str(int(time.time()) - 60)}})
    expect(table.item("old") is not None, True, "it is there")
    found = table.call("query", KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": table.pk})
    expect(found["Count"], 1)


@case("DynamoDB", "A local index can be read consistently, in the order of its key", LSI)
def local_index(endpoint):
    table = Table(endpoint)
    for sk, other in (("a", "2"), ("b", "1"), ("c", "3")):
        table.put(sk, attributes={"other": {"S": other}})
    found = table.call(
        "query",
        IndexName="by-other",
        ConsistentRead=True,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": table.pk},
    )
    expect([item["sk"]["S"] for item in found["Items"]], ["b", "a", "c"])


@case("DynamoDB", "A query with `Limit` counts before the filter, and says where to go on", QUERY)
def limit(endpoint):
    table = Table(endpoint)
    for sk in ("a", "b", "c"):
        table.put(sk, attributes={"value": {"S": sk}})
    found = table.call(
        "query",
        Limit=2,
        KeyConditionExpression="pk = :pk",
        FilterExpression="#value = :b",
        ExpressionAttributeNames={"#value": "value"},
        ExpressionAttributeValues={":pk": table.pk, ":b": {"S": "b"}},
    )
    expect((found["Count"], found["ScannedCount"], found["LastEvaluatedKey"]), (1, 2, table.key("b")))


@case("DynamoDB", "`ADD` counts from nothing, and `UPDATED_NEW` gives the new value", UPDATE)
def counting(endpoint):
    table = Table(endpoint)
    add = lambda: table.call(
        "update_item",
        Key=table.key("n"),
        UpdateExpression="ADD hits :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
        ReturnValues="UPDATED_NEW",
    )["Attributes"]
    expect([add(), add()], [{"hits": {"N": "1"}}, {"hits": {"N": "2"}}])


@case("DynamoDB", "A name that is reserved is refused in an expression", PUT)
def reserved(endpoint):
    table = Table(endpoint)
    values = {":x": {"S": "x"}}
    code = error_of(
        table.call,
        name="update_item",
        Key=table.key("a"),
        UpdateExpression="SET status = :x",
        ExpressionAttributeValues=values,
    )
    expect(code, (400, "ValidationException"))
