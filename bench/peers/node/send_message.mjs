// `sendMessage`: admits a message, queues it and answers `accepted`. Media, parents other than the latest item and
// repeated ids are no part of the benchmark, so they are refused.

import { BatchGetItemCommand } from '@aws-sdk/client-dynamodb';
import { SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { db, flag, number, pause, setting, slotKey, text, transact, ttl, userKey } from './dynamo.mjs';
import { run } from './runtime.mjs';

const LEASES = setting('CONNECTIONS_TABLE');
const CHAT = setting('CHAT_TABLE');
const QUEUE_URL = setting('QUEUE_URL');
const LEASE_MS = Number(setting('LEASE_SECONDS')) * 1000;
const MAX_PENDING = Number(setting('MAX_PENDING_PER_CLIENT'));
const MAX_TEXT_BYTES = Number(setting('MAX_TEXT_BYTES'));
const MAX_ATTEMPTS = 32;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

const sqs = new SQSClient({
  requestHandler: { connectionTimeout: 4000, requestTimeout: 5000 },
  // The queue's URL is only its name. Requests go to the client's endpoint, as with the SDKs of other languages.
  useQueueUrlAsEndpoint: false,
});

// A rule of the contract that refuses a frame.
class Refused extends Error {
  constructor(code, message, more = {}) {
    super(message);
    this.frame = { code, message, ...more };
  }
}

const badRequest = (message) => new Refused('bad_request', message);
const leaseExpired = () => new Refused('lease_expired', 'This connection no longer holds a place; connect again');
const noConversation = () => new Refused('conversation_not_found', 'There is no such conversation');

function parse(body) {
  try {
    return JSON.parse(body) ?? {};
  } catch {
    throw badRequest("The frame can't be read as JSON");
  }
}

function check(frame) {
  for (const name of ['id', 'conversationId', 'text', 'parentId']) {
    if (typeof (frame[name] ?? '') !== 'string') throw badRequest(`${name} must be a string`);
  }
  if (!UUID.test(frame.id)) throw badRequest('id must be a UUID');
  const bytes = Buffer.byteLength(frame.text ?? '');
  if (bytes === 0 || frame.media) throw badRequest('text is missing, or there is media');
  if (bytes > MAX_TEXT_BYTES) {
    throw new Refused('too_large', `The text has ${bytes} bytes; at most ${MAX_TEXT_BYTES} are allowed`);
  }
  if (!/^[\w-]{1,64}$/.test(frame.conversationId)) throw noConversation();
}

const isHeld = (lease, connection) =>
  lease?.connection_id?.S === connection && Number(lease.expires_at.N) > Date.now();

// Reads the sender's lease and the conversation's end in one request for two tables.
async function leaseAndConversation(user, conversation) {
  const conversationKey = { pk: userKey(user), sk: text(`conv#${conversation}`) };
  const RequestItems = {
    [LEASES]: { Keys: [{ pk: userKey(user) }], ConsistentRead: true },
    [CHAT]: { Keys: [conversationKey], ConsistentRead: true },
  };
  const { Responses, UnprocessedKeys = {} } = await db.send(new BatchGetItemCommand({ RequestItems }));
  if (Object.keys(UnprocessedKeys).length > 0) throw new Error('BatchGetItem left keys for another call');
  return [Responses[LEASES]?.[0], Responses[CHAT]?.[0]];
}

function parentOf(parentId, lastId, lastSeq) {
  if (parentId === '' || (parentId == null && lastSeq === 0)) return { id: '', seq: 0 };
  if (lastId !== undefined && (parentId ?? lastId).toLowerCase() === lastId.toLowerCase()) {
    return { id: lastId, seq: lastSeq };
  }
  throw badRequest('parentId must be the id of the latest item');
}

// One transaction decides whether the message is accepted.
function admitting(user, lease, { id, conversation, seq, parent, content, createdAt }) {
  const now = number(createdAt);
  const renewed = {
    ':connection': lease.connection_id,
    ':now': now,
    ':expires': number(createdAt + LEASE_MS),
    ':ttl': ttl(createdAt + LEASE_MS),
    ':yes': flag(true),
  };
  const userItem = {
    TableName: LEASES,
    Key: { pk: userKey(user) },
    ConditionExpression: 'connection_id = :connection AND expires_at > :now AND size(pending) < :max',
    UpdateExpression: 'SET expires_at = :expires, #ttl = :ttl, spoken = :yes, pending.#message = :now',
    ExpressionAttributeNames: { '#ttl': 'ttl', '#message': id.toLowerCase() },
    ExpressionAttributeValues: { ...renewed, ':max': number(MAX_PENDING) },
    ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
  };
  const slotItem = {
    TableName: LEASES,
    Key: { pk: slotKey(lease.slot_no.N) },
    ConditionExpression: 'connection_id = :connection AND expires_at > :now',
    UpdateExpression: 'SET expires_at = :expires, #ttl = :ttl, spoken = :yes',
    ExpressionAttributeNames: { '#ttl': 'ttl' },
    ExpressionAttributeValues: renewed,
  };
  const numbering = {
    TableName: CHAT,
    Key: { pk: userKey(user), sk: text(`conv#${conversation}`) },
    ConditionExpression: 'last_seq = :last',
    UpdateExpression: 'SET last_seq = :next, last_id = :id, updated_at = :now',
    ExpressionAttributeValues: { ':last': number(seq - 1), ':next': number(seq), ':id': text(id), ':now': now },
  };
  const named = { conversation_id: text(conversation), seq: number(seq) };
  const naming = {
    TableName: CHAT,
    Item: { pk: userKey(user), sk: text(`msg#${id.toLowerCase()}`), ...named },
    ConditionExpression: 'attribute_not_exists(pk)',
    ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
  };
  const storing = {
    TableName: CHAT,
    Item: {
      pk: text(`conv#${conversation}`),
      sk: text(String(seq).padStart(12, '0')),
      ...named,
      id: text(id),
      user_id: text(user),
      role: text('user'),
      text: text(content),
      status: text('queued'),
      created_at: now,
      parent_id: text(parent.id),
      parent_seq: number(parent.seq),
    },
    ConditionExpression: 'attribute_not_exists(pk)',
  };
  return [{ Update: userItem }, { Update: slotItem }, { Update: numbering }, { Put: naming }, { Put: storing }];
}

async function admit(user, connection, { id, conversationId: conversation, text: content, parentId }) {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const [lease, tail] = await leaseAndConversation(user, conversation);
    if (!isHeld(lease, connection)) throw leaseExpired();
    if (!tail) throw noConversation();
    const lastSeq = Number(tail.last_seq.N);
    const parent = parentOf(parentId, tail.last_id?.S, lastSeq);
    const message = { id, conversation, seq: lastSeq + 1, parent, content, createdAt: Date.now() };
    const refused = await transact(admitting(user, lease, message));
    if (!refused) return message;
    const [held, slotRefused, , idRefused] = refused;
    if (held && !isHeld(held, connection)) throw leaseExpired();
    if (idRefused) throw badRequest('This id was used before; give every message an id of its own');
    if (held) {
      const pending = Object.keys(held.pending.M).length;
      const rule = `${pending} messages still wait for an answer and at most ${MAX_PENDING} may; wait for an answer`;
      throw new Refused('too_many_pending', rule, { retryAfterMs: 1000 });
    }
    if (slotRefused) throw leaseExpired();
    // Another message or answer of this conversation took the number.
    await pause(2 << Math.min(attempt, 5));
  }
  throw new Error(`The conversation's number was lost to other writers ${MAX_ATTEMPTS} times`);
}

async function accept(user, connection, frame) {
  check(frame);
  const { id, conversation, seq, parent, content, createdAt } = await admit(user, connection, frame);
  const job = { userId: user, conversationId: conversation, messageId: id, seq };
  await sqs.send(
    new SendMessageCommand({
      QueueUrl: QUEUE_URL,
      // A conversation is answered in order, and a message is queued once.
      MessageGroupId: conversation,
      MessageDeduplicationId: id.toLowerCase(),
      MessageBody: JSON.stringify(job),
    }),
  );
  const message = {
    id,
    conversationId: conversation,
    role: 'user',
    type: 'text',
    text: content,
    status: 'queued',
    parentId: parent.id,
    createdAt: new Date(createdAt).toISOString(),
  };
  return { type: 'accepted', id, duplicate: false, message };
}

async function sendMessage({ requestContext, body }) {
  let id;
  let answer;
  try {
    const frame = parse(body ?? '');
    id = UUID.test(frame.id) ? frame.id : undefined;
    answer = await accept(requestContext.authorizer.principalId, requestContext.connectionId, frame);
  } catch (error) {
    if (!error.frame) console.error(error);
    const internal = { code: 'internal', message: 'Something went wrong on our side; try again' };
    answer = { type: 'error', id, ...(error.frame ?? internal) };
  }
  return { statusCode: 200, body: JSON.stringify(answer) };
}

run(sendMessage);
