/**
 * The connection to Parley, as the app uses it. The rest of the app may import only this module.
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
 * `tabs.ts` decides which tab has the connection. There, `driver.ts` runs the state machine of `machine.ts`.
 */

export { createLine, type Line, type LineOptions } from './tabs';
export type { Draft, LineEvent, LineState, Limits, Outgoing } from './types';
