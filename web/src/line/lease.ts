/**
 * What the client can know about its place on the server: whether the server will take it away for silence, and when.
 *
 * A new place ends at a fixed moment, until a first message makes it renewable. A session that comes back gets its old
 * place unchanged, if the place still exists, and otherwise a new one. The server does not say which. Heartbeats show
 * it: the end that they report moves if the client has spoken, and stands still if it has not. That comparison needs no
 * clock.
 *
 * The client never takes the server's time for its own. If it knows the difference of the clocks, it uses a reported
 * end. But it never assumes an end later than that of a place that was new when the connection opened.
 */

import type { Limits } from './types';

export interface Lease {
  /** Whether the place is renewable; `undefined` until it is known. */
  readonly spoken: boolean | undefined;
  /** When a silent client loses its place, by our clock. */
  readonly deadline: number | undefined;
  /** No place of this connection ends later if the client stays silent. */
  readonly latest: number;
  /** The end in the last heartbeat on this connection, by the server's clock. */
  readonly reported: number | undefined;
  /** Until then the place is ours, even if nothing more is heard. */
  readonly surelyUntil: number;
}

/** A place that an earlier run of this session may have left. */
export const unknownLease: Lease = {
  spoken: undefined,
  deadline: undefined,
  latest: Infinity,
  reported: undefined,
  surelyUntil: Infinity,
};

/** A connection opened. `held`: this session was the last to have the place. */
export function opened(lease: Lease, held: boolean, limits: Limits, now: number): Lease {
  const latest = now + limits.firstMessageSeconds * 1000;
  const base = { latest, reported: undefined, surelyUntil: lease.surelyUntil };
  if (!held || lease.surelyUntil <= now) {
    return { ...base, spoken: false, deadline: latest, surelyUntil: latest };
  }
  // A silent session keeps its deadline. If it had spoken, its place may be the old one or a new one.
  return lease.spoken === false
    ? { ...base, spoken: false, deadline: lease.deadline }
    : { ...base, spoken: undefined, deadline: undefined };
}

export function messageAccepted(lease: Lease, limits: Limits, now: number): Lease {
  return { ...lease, spoken: true, deadline: undefined, surelyUntil: now + limits.leaseSeconds * 1000 };
}

export function heartbeatAnswered(
  lease: Lease,
  leaseExpiresAt: string,
  skewMs: number | undefined,
  limits: Limits,
  now: number,
): Lease {
  const reported = Date.parse(leaseExpiresAt);
  if (Number.isNaN(reported)) return lease;
  const moved = lease.reported !== undefined && reported > lease.reported;
  if (lease.spoken === true || moved) return { ...messageAccepted(lease, limits, now), reported };
  if (lease.spoken === undefined && lease.reported === undefined) return { ...lease, reported };
  const told = skewMs === undefined ? NaN : reported - skewMs;
  // This can't be right, so the difference of the clocks is wrong.
  const likely = told > now - 1000 && told <= lease.latest + 1000;
  const deadline = likely ? Math.min(told, lease.latest) : (lease.deadline ?? lease.latest);
  return { ...lease, spoken: false, deadline, reported, surelyUntil: deadline };
}
