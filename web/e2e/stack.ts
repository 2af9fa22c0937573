/** A stack under test: a process of its own, started as `cargo run` starts it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';

const root = path.resolve(import.meta.dirname, '../..');
const program = path.join(root, 'target/debug/parley');

export interface StackOptions {
  params?: Record<string, string | number>;
  args?: string[];
  /** Keeps the data there, for another stack to use. Without this, the data is in memory. */
  dataDir?: string;
  port?: number;
}

export class Stack {
  private constructor(
    readonly url: string,
    private readonly child: ChildProcess,
    private readonly log: string[],
  ) {}

  static async start({ params = {}, args = [], dataDir, port = 0 }: StackOptions = {}): Promise<Stack> {
    if (!existsSync(program)) throw new Error(`${program} does not exist: run \`cargo build --workspace\` first`);
    const all = { MockLatencyMs: 0, ...params };
    const child = spawn(
      program,
      [
        ...['--port', String(port), ...args],
        ...(dataDir ? ['--data-dir', dataDir] : ['--ephemeral']),
        ...Object.entries(all).flatMap(([name, value]) => ['--param', `${name}=${value}`]),
      ],
      // Its authority for certificates is with the data of its user, and tests leave nothing there.
      { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, XDG_DATA_HOME: `${root}/target/tmp` } },
    );
    // A test that fails may never reach its end, but its process does.
    process.once('exit', () => child.kill('SIGTERM'));
    const log: string[] = [];
    createInterface({ input: child.stderr }).on('line', (line) => log.push(line));
    const url = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        const ready = JSON.parse(line) as { ready?: boolean; url: string };
        if (ready.ready) resolve(ready.url);
      });
      child.once('exit', (code) => reject(new Error(`The gateway ended with ${code}:\n${log.join('\n')}`)));
    });
    return new Stack(url, child, log);
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  output(): string {
    return this.log.join('\n');
  }

  /** Sends SIGKILL, so the stack can tell nobody. */
  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  async stop(): Promise<void> {
    await this.end('SIGTERM');
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill(signal);
    await ended;
  }

  async token(username: string, groups?: string[]): Promise<string> {
    const body = JSON.stringify(groups ? { username, groups } : { username });
    const response = await fetch(`${this.url}/_local/token`, { method: 'POST', body });
    return ((await response.json()) as { accessToken: string }).accessToken;
  }

  /** A REST call as `username`. */
  async call<T>(username: string, method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(this.url + path, {
      method,
      headers: { authorization: `Bearer ${await this.token(username)}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return (response.status === 204 ? undefined : await response.json()) as T;
  }
}
