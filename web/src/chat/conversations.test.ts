import { describe, expect, it } from 'vitest';
import { ApiError, type Api } from '../api';
import type { Conversation } from '../contract';
import { createConversations, titleFrom, type Change } from './conversations';

const PAGE = 10;

/**
 * A server with a list of conversations. It notes which pages are read, and waits before an answer if a test wants
 * that.
 */
class Server {
  /** The most recently used first. */
  items: Conversation[];
  reads: string[] = [];
  before: (call: string) => Promise<void> | void = () => undefined;
  private clock = Date.UTC(2026, 0, 1);

  constructor(count: number) {
    this.items = [];
    for (let index = count - 1; index >= 0; index--) this.use(`c${index}`, `Title ${index}`);
  }

  use(id: string, title = this.items.find((item) => item.id === id)?.title ?? ''): Conversation {
    const at = new Date((this.clock += 1000)).toISOString();
    const made = { id, title, createdAt: at, updatedAt: at };
    this.items = [made, ...this.items.filter((item) => item.id !== id)];
    return made;
  }

  remove(id: string): void {
    this.items = this.items.filter((item) => item.id !== id);
  }

  api(): Api {
    const api: Partial<Api> = {
      conversations: async (cursor) => {
        this.reads.push(cursor ?? '');
        const start = cursor === undefined ? 0 : this.items.findIndex((item) => item.id === cursor) + 1;
        const items = this.items.slice(start, start + PAGE);
        const last = items.at(-1);
        const more = start + PAGE < this.items.length;
        await this.before(`read ${cursor ?? ''}`);
        return { items, ...(more && last ? { nextCursor: last.id } : {}) };
      },
      createConversation: async (title) => {
        const made = this.use('new', title ?? 'New conversation');
        await this.before('create');
        return made;
      },
      renameConversation: async (id, title) => {
        await this.before(`rename ${title}`);
        return this.use(id, title);
      },
      deleteConversation: async (id) => {
        await this.before('delete');
        this.remove(id);
      },
    };
    return api as Api;
  }
}

async function started(count: number) {
  const server = new Server(count);
  const told: Change[] = [];
  const conversations = createConversations(server.api(), (change) => told.push(change), () => undefined);
  await conversations.load();
  const reads = server.reads;
  server.reads = [];
  const titles = () => conversations.list.value.map(({ title }) => title);
  const isAsOnServer = () => expect(conversations.list.value.map(({ id }) => id)).toEqual(server.items.map(({ id }) => id));
  return { server, conversations, told, reads, titles, isAsOnServer };
}

/** The next call of this name waits until the test lets it go. */
function hold(server: Server, name: string): { reached: Promise<void>; go(): void } {
  let go = () => {};
  let reach = () => {};
  const gate = new Promise<void>((resolve) => (go = resolve));
  const reached = new Promise<void>((resolve) => (reach = resolve));
  server.before = (call) => {
    if (call !== name) return;
    server.before = () => undefined;
    reach();
    return gate;
  };
  return { reached, go };
}

describe('the list', () => {
  it('is read whole once, and then only as far as something is new', async () => {
    const { server, conversations, reads, isAsOnServer } = await started(45);
    expect(reads).toHaveLength(5);
    isAsOnServer();
    await conversations.load();
    expect(server.reads).toEqual(['']);
    for (let index = 20; index < 34; index++) server.use(`c${index}`, `Used ${index}`);
    server.use('made elsewhere', 'Made elsewhere');
    server.reads = [];
    await conversations.load();
    expect(server.reads).toHaveLength(2);
    isAsOnServer();
    expect(conversations.find('c33')?.title).toBe('Used 33');
  });

  it('notices what was deleted elsewhere before the end of what it reads, and the rest when it is opened', async () => {
    const { server, conversations, isAsOnServer } = await started(45);
    server.remove('c3');
    server.remove('c40');
    await conversations.load();
    expect(conversations.find('c3')).toBeUndefined();
    expect(conversations.find('c40')).toBeDefined();
    conversations.gone('c40');
    isAsOnServer();
  });

  it('does not take for known what was changed here, but not read', async () => {
    const { server, conversations, isAsOnServer } = await started(45);
    server.use('c44');
    // This tab has put a whole page there itself, before the one that it does not know.
    for (let index = 0; index < PAGE; index++) await conversations.rename(`c${index + 20}`, `Renamed ${index}`);
    await conversations.load();
    isAsOnServer();
  });

  it('starts over where it was interrupted', async () => {
    const { server, conversations, isAsOnServer } = await started(45);
    for (let index = 20; index < 34; index++) server.use(`c${index}`);
    server.before = (call) => {
      if (call !== 'read ') throw new Error('no network');
    };
    await conversations.load();
    expect(conversations.state.value).toBe('ready');
    server.before = () => undefined;
    await conversations.load();
    isAsOnServer();
  });

  it('reads no page for a rename, a new conversation, a deletion, or what another tab tells', async () => {
    const { server, conversations, told, isAsOnServer } = await started(45);
    await conversations.rename('c30', 'Renamed');
    await conversations.create('Hello');
    conversations.remove('c10');
    await conversations.removeNow('c10');
    isAsOnServer();
    const other = createConversations(server.api(), () => undefined, () => undefined);
    await other.load();
    server.reads = [];
    for (const change of told) other.take(change);
    expect(other.list.value).toEqual(conversations.list.value);
    expect(server.reads).toEqual([]);
  });

  it('has a title that is given while pages are on their way, and not the one before', async () => {
    const { server, conversations, titles, isAsOnServer } = await started(25);
    const page = hold(server, 'read ');
    const loaded = conversations.load();
    await page.reached;
    await conversations.rename('c5', 'Renamed');
    page.go();
    await loaded;
    expect(titles()).toContain('Renamed');
    expect(titles()).not.toContain('Title 5');
    isAsOnServer();
  });

  it('has it also where the answer to it comes after the pages', async () => {
    const { server, conversations, titles, isAsOnServer } = await started(25);
    const answer = hold(server, 'rename Renamed');
    const renamed = conversations.rename('c5', 'Renamed');
    await answer.reached;
    await conversations.load();
    expect(titles()).toContain('Renamed');
    expect(titles()).not.toContain('Title 5');
    answer.go();
    await renamed;
    isAsOnServer();
  });

  it('has the later of two titles, and so does the server', async () => {
    const { server, conversations } = await started(5);
    const first = hold(server, 'rename First');
    const renamed = [conversations.rename('c2', 'First'), conversations.rename('c2', 'Second')];
    await first.reached;
    expect(conversations.find('c2')?.title).toBe('Second');
    first.go();
    await Promise.all(renamed);
    expect(conversations.find('c2')?.title).toBe('Second');
    expect(server.items[0]?.title).toBe('Second');
  });

  it('has the title from before where a new one is refused, and what else has changed stays', async () => {
    const { server, conversations } = await started(5);
    server.before = () => {
      throw new ApiError(500, 'no', undefined);
    };
    const renamed = conversations.rename('c2', 'Renamed');
    conversations.used('c2');
    await expect(renamed).rejects.toThrow();
    expect(conversations.list.value[0]).toMatchObject({ id: 'c2', title: 'Title 2' });
  });

  it('does not bring back what is deleted while pages are on their way', async () => {
    const { server, conversations, isAsOnServer } = await started(25);
    const page = hold(server, 'read ');
    const loaded = conversations.load();
    await page.reached;
    conversations.remove('c5');
    await conversations.removeNow('c5');
    page.go();
    await loaded;
    expect(conversations.find('c5')).toBeUndefined();
    isAsOnServer();
  });

  it('keeps what is made while the first pages are on their way', async () => {
    const server = new Server(25);
    const conversations = createConversations(server.api(), () => undefined, () => undefined);
    const page = hold(server, 'read ');
    const loaded = conversations.load();
    await page.reached;
    await conversations.create('Hello');
    page.go();
    await loaded;
    expect(conversations.list.value.map(({ id }) => id)).toEqual(server.items.map(({ id }) => id));
  });
});

describe('a title from the first words', () => {
  it.each([
    ['Hello there', 'Hello there'],
    ['  # A heading\nand more ', 'A heading'],
    ['- `code`', 'code`'],
    ['', undefined],
    ['\n\u200b ', undefined],
    ['```\n\nlet a = 1', 'let a = 1'],
  ])('%j is %j', (text, title) => expect(titleFrom(text)).toBe(title));

  it('ends at a word, and fits', () => {
    const title = titleFrom('word '.repeat(40)) ?? '';
    expect(title).toMatch(/word…$/);
    expect([...title].length).toBeLessThanOrEqual(61);
  });

  it('does not cut a character in two', () => {
    const title = titleFrom('😀'.repeat(200)) ?? '';
    expect([...title].filter((character) => character === '😀')).toHaveLength(60);
  });
});
