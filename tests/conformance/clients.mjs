// Calls of AWS's SDK for JavaScript, for the conformance suite: one call by its name, and what it gives, as JSON.
import {
  ApiGatewayManagementApiClient,
  GetConnectionCommand,
  PostToConnectionCommand,
} from "@aws-sdk/client-apigatewaymanagementapi";
import { DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";

const management = () => new ApiGatewayManagementApiClient({ maxAttempts: 1 });
const calls = {
  post: (id) => management().send(new PostToConnectionCommand({ ConnectionId: id, Data: "by the SDK" })),
  get: (id) => management().send(new GetConnectionCommand({ ConnectionId: id })),
  condition: (pk) => {
    const item = { TableName: "conformance", Item: { pk: { S: pk }, sk: { S: "a" } } };
    const absent = { ...item, ConditionExpression: "attribute_not_exists(pk)" };
    const client = new DynamoDBClient({ maxAttempts: 1 });
    return client.send(new PutItemCommand(item)).then(() => client.send(new PutItemCommand(absent)));
  },
};

const [call, argument] = process.argv.slice(2);
try {
  const { $metadata, ...answer } = await calls[call](argument);
  console.log(JSON.stringify({ status: $metadata.httpStatusCode, answer }));
} catch (error) {
  console.log(JSON.stringify({ status: error.$metadata?.httpStatusCode, error: error.name }));
}
