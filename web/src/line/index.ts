/**
 * The connection to Parley, as the app uses it. The only module outside may import.
 *
 * ```ts
 * const line = createLine({ userId, websocketUrl, limits, token, admission });
 * line.subscribe((event) => {
 *   if (event.type === 'answer') texts[event.id] = (event.restart ? '' : texts[event.id] ?? '') + event.text;
 *   if (event.type === 'resumed') reload();
 * });
 * line.send({ id: crypto.randomUUID(), conversationId, text: 'Hello' });
 * ```
 *
 * How it is made: `tabs.ts` decides which tab has the connection, `driver.ts` runs the state machine of `machine.ts` there.
 */

export { createLine, type Line, type LineOptions } from './tabs';
export type { Draft, LineEvent, LineState, Limits, Outgoing } from './types';
