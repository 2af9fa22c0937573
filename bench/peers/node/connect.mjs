// `$connect`: takes a place for the user, or refuses with a status. Taking over a place that is still held is no part
// of the benchmark, so it is always refused.

import { randomInt } from 'node:crypto';
import { flag, number, setting, slotKey, text, transact, ttl, userKey } from './dynamo.mjs';
import { run } from './runtime.mjs';

const TABLE = setting('CONNECTIONS_TABLE');
const MAX_CLIENTS = Number(setting('MAX_CLIENTS'));
const FIRST_MESSAGE_MS = Number(setting('FIRST_MESSAGE_SECONDS')) * 1000;
const SUBPROTOCOL = 'parley.v1';
const MAX_ATTEMPTS = 10;

// Takes both items or neither. `ended` is the user's item, if its lease has ended by itself.
function take({ user, connection, session, username }, slot, ended) {
  const now = Date.now();
  const expiresAt = now + FIRST_MESSAGE_MS;
  const lease = {
    ':slot': number(slot),
    ':connection': text(connection),
    ':expires': number(expiresAt),
    ':no': flag(false),
    ':ttl': ttl(expiresAt),
    ':now': number(now),
    ':none': { M: {} },
  };
  let set =
    'SET slot_no = :slot, connection_id = :connection, expires_at = :expires, spoken = :no, #ttl = :ttl, ' +
    'connected_at = :now, pending = if_not_exists(pending, :none), untold = if_not_exists(untold, :none), ';
  set += ended ? 'replaced.#old = :now' : 'replaced = if_not_exists(replaced, :none)';
  const gone = [];
  for (const [name, value] of Object.entries({ session_id: session, username })) {
    if (value) {
      set += `, ${name} = :${name}`;
      lease[`:${name}`] = text(value);
    } else {
      gone.push(name);
    }
  }
  // This is an update and not a put, because it must keep the messages that still wait for an answer.
  const userItem = {
    TableName: TABLE,
    Key: { pk: userKey(user) },
    ConditionExpression: ended
      ? 'connection_id = :old AND expires_at <= :now'
      : 'attribute_not_exists(pk) OR expires_at = :released',
    UpdateExpression: gone.length ? `${set} REMOVE ${gone.join(', ')}` : set,
    ExpressionAttributeNames: ended ? { '#ttl': 'ttl', '#old': ended.connection_id.S } : { '#ttl': 'ttl' },
    ExpressionAttributeValues: { ...lease, ...(ended ? { ':old': ended.connection_id } : { ':released': number(0) }) },
    ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
  };
  const slotItem = {
    TableName: TABLE,
    Item: {
      pk: slotKey(slot),
      slot_no: number(slot),
      user_id: text(user),
      connection_id: text(connection),
      expires_at: number(expiresAt),
      spoken: flag(false),
      ttl: ttl(expiresAt),
    },
    ConditionExpression: 'attribute_not_exists(pk) OR expires_at <= :now',
    ExpressionAttributeValues: { ':now': number(now) },
  };
  return transact([{ Update: userItem }, { Put: slotItem }]);
}

async function place(client) {
  let slot = randomInt(MAX_CLIENTS);
  let ended = null;
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const refused = await take(client, slot, ended);
    if (!refused) return 200;
    const [held] = refused;
    if (!held) {
      slot = randomInt(MAX_CLIENTS);
    } else if (!held.pk) {
      ended = null; // deleted meanwhile
    } else if (held.connection_id.S === client.connection) {
      return 200; // an earlier try of this very call, whose answer was lost
    } else if (Number(held.expires_at.N) > Date.now()) {
      return 409;
    } else {
      ended = held.expires_at.N === '0' ? null : held; // 0: its client gave it back
    }
  }
  return 503;
}

async function connect(event) {
  const { connectionId, authorizer } = event.requestContext;
  const { session, takeover = 'false' } = event.queryStringParameters ?? {};
  if (!/^[\w-]{1,64}$/.test(session ?? 'none') || !/^(true|false)$/.test(takeover)) return { statusCode: 400 };
  const { principalId: user, username } = authorizer;
  const statusCode = await place({ user, connection: connectionId, session, username });
  const [, offered = ''] =
    Object.entries(event.headers ?? {}).find(([name]) => name.toLowerCase() === 'sec-websocket-protocol') ?? [];
  const isOffered = offered.split(',').some((name) => name.trim() === SUBPROTOCOL);
  return { statusCode, headers: statusCode === 200 && isOffered ? { 'Sec-WebSocket-Protocol': SUBPROTOCOL } : {} };
}

run(connect);
