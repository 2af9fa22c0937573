// The client of the Runtime API that aws-lambda-ric asks for, in place of its add-on in C++.
"use strict";
const http = require("node:http");
const Module = require("node:module");

const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function call(method, path, headers, body) {
  return new Promise((resolve, reject) => {
    const options = { hostname, port, agent, method, headers, path: "/2018-06-01/runtime/invocation/" + path };
    const request = http.request(options, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("error", reject);
      response.on("end", () => resolve({ bodyJson: Buffer.concat(parts).toString(), headers: response.headers }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

// The add-on sends an answer before it returns. Here the next event is asked for once the answer has been sent.
let answered = Promise.resolve();
function post(path, body, headers) {
  const length = Buffer.byteLength(body);
  answered = call("POST", path, { "Content-Type": "application/json", "Content-Length": length, ...headers }, body);
  answered.catch(() => {}); // `next` reports it.
}

function errorType(body) {
  const type = String(JSON.parse(body).errorType);
  return /^[\x20-\x7e]+$/.test(type) ? type : "Error"; // A header is plain text.
}

const client = {
  initializeClient() {},
  async next() {
    await answered;
    return call("GET", "next", {});
  },
  done: (id, body) => post(id + "/response", body, {}),
  error: (id, body) => post(id + "/error", body, { "Lambda-Runtime-Function-Error-Type": errorType(body) }),
};

const load = Module._load;
Module._load = function (request, ...rest) {
  return request.endsWith("/rapid-client.node") ? client : load.call(this, request, ...rest);
};
