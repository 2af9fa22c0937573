// Connections to AWS's names go to the stack, which has a certificate for them. Some code builds such a name, and
// version 2 of the SDK reads no address from the environment. A name in one of the function's own AWS_ENDPOINT_URL…
// variables is meant for the world.
"use strict";
const net = require("node:net");

const stack = process.env.SAMOVAR_AWS_NAMES;
const meant = Object.entries(process.env).flatMap(([name, value]) =>
  name.startsWith("AWS_ENDPOINT_URL") && URL.canParse(value) ? [new URL(value).hostname] : [],
);

function isOfStack({ host, port }) {
  const name = String(host).toLowerCase();
  return name.endsWith(".amazonaws.com") && !meant.includes(name) && (Number(port) === 443 || Number(port) === 80);
}

if (stack) {
  const [host, port] = stack.split(":");
  const { connect } = net.Socket.prototype;
  net.Socket.prototype.connect = function (...args) {
    // Node.js calls it with one array of the arguments, which it knows by a symbol.
    const list = Array.isArray(args[0]) ? args[0] : args;
    const to = list[0];
    if (to !== null && typeof to === "object" && isOfStack(to)) list[0] = { ...to, host, port: Number(port) };
    return connect.apply(this, args);
  };
}
