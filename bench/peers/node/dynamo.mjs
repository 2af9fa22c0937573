// What both functions need of DynamoDB: the client, transactions, and the forms of keys and values.

import { setTimeout as sleep } from 'node:timers/promises';
import { DynamoDBClient, TransactWriteItemsCommand } from '@aws-sdk/client-dynamodb';

// Codes that mean 'somebody else is writing this' or 'slow down'.
const CONTENTION =
  /^(TransactionConflict|TransactionInProgress|Throttling|ProvisionedThroughputExceeded|RequestLimitExceeded)/;
const MAX_ATTEMPTS = 10;

// The client is made at init, and it keeps its connections open between events.
export const db = new DynamoDBClient({ requestHandler: { connectionTimeout: 4000, requestTimeout: 8000 } });

export const text = (value) => ({ S: value });
export const number = (value) => ({ N: String(value) });
export const flag = (value) => ({ BOOL: value });

export const userKey = (user) => text(`user#${user}`);
export const slotKey = (slot) => text(`slot#${String(slot).padStart(5, '0')}`);

// Ended items stay for a day, because they count unanswered messages.
export const ttl = (expiresAt) => number(Math.floor(expiresAt / 1000) + 1 + 24 * 3600);

// Two tries that met once spread out, so that they do not meet again.
export const pause = (ceilingMs) => sleep(Math.random() * ceilingMs);

export function setting(name) {
  if (process.env[name]) return process.env[name];
  // An uncaught error would print the bundle's line, which is very long.
  console.error(`${name} is not set; set it in the function's environment`);
  process.exit(1);
}

// Writes all or nothing. Gives null or, by their position in the list, the items whose condition failed.
export async function transact(writes) {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    try {
      await db.send(new TransactWriteItemsCommand({ TransactItems: writes }));
      return null;
    } catch (error) {
      const reasons = error.CancellationReasons ?? [];
      // Contention is checked first: if there is any, not every condition may have been evaluated.
      if (![error.name, ...reasons.map((reason) => reason.Code)].some((code) => CONTENTION.test(code))) {
        const refused = reasons.map(({ Code, Item }) => (Code === 'ConditionalCheckFailed' ? (Item ?? {}) : null));
        if (!refused.some(Boolean)) throw error;
        return refused;
      }
      await pause(10 << Math.min(attempt, 6));
    }
  }
  throw new Error(`TransactWriteItems lost to other writers ${MAX_ATTEMPTS} times`);
}
