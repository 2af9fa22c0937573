/**
 * What can be known here of the place that the server keeps for us: whether it will be taken away for silence, and when.
 *
 * A new place ends at a fixed moment, until a first message makes it renewable. A session that comes back gets its old
 * place as it was, if it is still there, and a new one otherwise, and isn't told which. Heartbeats tell it: the end that
 * they report moves for who has spoken, and stands still for who has not. That comparison needs no clock.
 *
 * The server's time is never taken for ours. With a known difference of the clocks a reported end is used, but no later
 * than a place that was new when the connection opened would end.
 */

import type { Limits } from './types';

export interface Lease {
  /** Whether the place is renewable; `undefined` until it is known. */
  readonly spoken: boolean | undefined;
  /** When a client that sends nothing is let go, by our clock. */
  readonly deadline: number | undefined;
  /** No place of this connection's ends later in silence. */
  readonly latest: number;
  /** The end in the last heartbeat on this connection, by the server's clock. */
  readonly reported: number | undefined;
  /** Until then the place is ours even if nothing more is heard. */
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

/** A connection opened; `held`: this session was the last to have the place. */
export function opened(lease: Lease, held: boolean, limits: Limits, now: number): Lease {
  const latest = now + limits.firstMessageSeconds * 1000;
  const base = { latest, reported: undefined, surelyUntil: lease.surelyUntil };
  if (!held || lease.surelyUntil <= now) {
    return { ...base, spoken: false, deadline: latest, surelyUntil: latest };
  }
  // Silent, it keeps its deadline. If it had spoken, the place may be the old one or not.
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
  // Out of the question: the difference of the clocks is not what we took it for.
  const likely = told > now - 1000 && told <= lease.latest + 1000;
  const deadline = likely ? Math.min(told, lease.latest) : (lease.deadline ?? lease.latest);
  return { ...lease, spoken: false, deadline, reported, surelyUntil: deadline };
}
