// Runs the handler with the runtime interface client, in the function's folder.
import { register } from "node:module";
import { existsSync } from "node:fs";

// Lambda has AWS's SDK for every function. CommonJS modules find it by NODE_PATH, and other modules by this.
if (existsSync(new URL("node_modules/@aws-sdk/", import.meta.url))) register("./sdk.mjs", import.meta.url);

const { run } = await import("aws-lambda-ric");
await run(process.cwd(), process.argv[2]);
