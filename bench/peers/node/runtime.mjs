// The loop of a function: takes the next event from the Lambda Runtime API, handles it, and posts the result.

import http from 'node:http';

// Lambda gives a host and a port. A local stack may give a whole URL with a path.
const given = process.env.AWS_LAMBDA_RUNTIME_API;
const api = new URL(given.includes('://') ? given : `http://${given}`);
const base = `${api.href.replace(/\/+$/, '')}/2018-06-01/runtime`;
const agent = new http.Agent({ keepAlive: true });

function call(method, path, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(`${base}${path}`, { agent, method, headers }, async (response) => {
      try {
        const chunks = [];
        for await (const chunk of response) chunks.push(chunk);
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode >= 300) throw new Error(`${method} ${path}: ${response.statusCode} ${text}`);
        resolve({ headers: response.headers, text });
      } catch (error) {
        reject(error);
      }
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function loop(handler) {
  for (;;) {
    const next = await call('GET', '/invocation/next');
    const invocation = `/invocation/${next.headers['lambda-runtime-aws-request-id']}`;
    let response;
    try {
      response = JSON.stringify(await handler(JSON.parse(next.text)));
    } catch (error) {
      console.error(error);
      const body = JSON.stringify({ errorType: error.name, errorMessage: error.message });
      await call('POST', `${invocation}/error`, body, { 'Lambda-Runtime-Function-Error-Type': error.name });
      continue;
    }
    await call('POST', `${invocation}/response`, response);
  }
}

export function run(handler) {
  loop(handler).catch((error) => {
    console.error(`The Runtime API failed: ${error.message}`);
    process.exit(1);
  });
}
