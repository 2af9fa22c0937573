import { describe, expect, it } from 'vitest';
import type { Message, Status } from '../contract';
import { emptyLog, withFrame, withNewer, withOlder } from './log';

function item(id: string, status: Status = 'done', text = id): Message {
  return { id, conversationId: 'c', role: 'user', type: 'text', text, status, createdAt: '2026-01-01T00:00:00.000Z' };
}
const ids = (log: { items: Message[] }) => log.items.map((message) => message.id).join('');

describe('the log', () => {
  it('grows at its beginning by older pages until it is complete', () => {
    const latest = withOlder(emptyLog, [item('c'), item('d')], 'more');
    expect(latest).toMatchObject({ complete: false, cursor: 'more', confirmed: 'd' });
    const all = withOlder(latest, [item('a'), item('b'), item('c')], undefined);
    expect(ids(all)).toBe('abcd');
    expect(all).toMatchObject({ complete: true, confirmed: 'd' });
    expect(all.cursor).toBeUndefined();
  });

  it('learns from a page what a frame would have said, had it come', () => {
    const accepted = withFrame({ items: [], complete: true }, [item('a', 'queued')]);
    const log = withOlder(accepted, [item('a', 'done'), item('b')], undefined);
    expect(ids(log)).toBe('ab');
    expect(log.items[0]?.status).toBe('done');
    expect(withOlder(withFrame(emptyLog, [item('a', 'done')]), [item('a', 'queued')], undefined).items[0]?.status).toBe('done');
  });

  it('orders what frames brought by the next page, and keeps what the page does not have yet', () => {
    const latest = withOlder(emptyLog, [item('a')], undefined);
    const early = withFrame(withFrame(withFrame(latest, [item('c')]), [item('b')]), [item('x')]);
    expect(ids(early)).toBe('acbx');
    expect(ids(withNewer(early, [item('b'), item('c')]))).toBe('abcx');
  });

  it('does not take an end back, whichever of frame and page is late', () => {
    const log = withOlder(emptyLog, [item('a'), item('b', 'queued')], undefined);
    const ended = withFrame(log, [item('b', 'failed')]);
    expect(withFrame(ended, [item('b', 'queued')]).items[1]?.status).toBe('failed');
    const early = withFrame(ended, [item('c', 'done')]);
    expect(withNewer(early, [item('c', 'queued')]).items[2]?.status).toBe('done');
  });

  it('keeps a text that a frame was too small for', () => {
    const log = withOlder(emptyLog, [item('a', 'queued', 'long')], undefined);
    const bare = item('a');
    delete bare.text;
    expect(withFrame(log, [{ ...bare, truncated: true }]).items[0]?.text).toBe('long');
  });

  it('has everything after a page that brought nothing', () => {
    const log = withFrame(withOlder(emptyLog, [item('a')], undefined), [item('b')]);
    expect(ids(withNewer(log, []))).toBe('ab');
  });
});
