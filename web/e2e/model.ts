/** An endpoint with the OpenAI protocol. A test decides what it says, and how fast. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  messages: { role: string; content: unknown }[];
}

/** The pieces of an answer, with their timing. */
export type Script = (asked: Asked) => AsyncIterable<string>;

export class ModelEndpoint {
  script: Script = () => paced('Hello.', 0);
  readonly asked: Asked[] = [];

  private constructor(private readonly server: Server) {}

  static async start(): Promise<ModelEndpoint> {
    const server = createServer();
    const endpoint = new ModelEndpoint(server);
    server.on('request', (request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        const asked = JSON.parse(body) as Asked;
        endpoint.asked.push(asked);
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        void (async () => {
          for await (const content of endpoint.script(asked)) {
            if (response.destroyed) return;
            response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`);
          }
          response.end('data: [DONE]\n\n');
        })();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return endpoint;
  }

  /** Parameters of a stack that asks this model. */
  get params(): Record<string, string> {
    const { port } = this.server.address() as AddressInfo;
    return { LlmProvider: 'openai', LlmModel: 'test', LlmBaseUrl: `http://127.0.0.1:${port}/v1` };
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

/** A text word by word. */
export async function* paced(text: string, everyMs: number): AsyncIterable<string> {
  for (const word of text.match(/\S+\s*|\s+/g) ?? []) {
    yield word;
    if (everyMs > 0) await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

/** A gate: the answer goes on when the test opens it. */
export function gate(): { opened: Promise<void>; open(): void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}
