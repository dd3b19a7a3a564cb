// Writes the golden bytes of the official JavaScript packages. See README.md.
import { createRequire } from "node:module";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const packages = process.argv[2];
if (!packages) {
  console.error("usage: node generate.mjs <folder with node_modules>");
  process.exit(2);
}
const require = createRequire(join(packages, "package.json"));
const { JsonHubProtocol } = require("@microsoft/signalr");
const { MessagePackHubProtocol } = require("@microsoft/signalr-protocol-msgpack");
const { HandshakeProtocol } = require(
  join(packages, "node_modules/@microsoft/signalr/dist/cjs/HandshakeProtocol.js"),
);

const { TextMessageFormat } = require(
  join(packages, "node_modules/@microsoft/signalr/dist/cjs/TextMessageFormat.js"),
);

const headers = { traceparent: "00-01", "x-länge": "ü\n" };
const values = [
  null, true, false, 0, 127, 128, 255, 256, 65536, 4294967296, Number.MAX_SAFE_INTEGER,
  -1, -32, -33, -129, -32769, -2147483649, 1.5, -0.1, 1e300,
  "", "text", "äöü€😀", "quote\" slash\\ \r\n\u2028\u0000", "x".repeat(32), "y".repeat(300),
  [], [1, [2, [3]]], {}, { a: 1, nested: { list: ["b"] } },
];
const time = new Date(Date.UTC(2026, 10, 22, 20, 30, 15, 250));
const bytes = new Uint8Array([0, 1, 254, 255]);

// What both protocols can say.
const messages = {
  invocation_no_answer: { type: 1, target: "send", arguments: [42, "hello"] },
  invocation_with_id: { type: 1, invocationId: "7", target: "send", arguments: [] },
  invocation_headers: { type: 1, headers, invocationId: "8", target: "send", arguments: [1] },
  invocation_streams: { type: 1, invocationId: "9", target: "upload", arguments: ["a"], streamIds: ["10", "11"] },
  invocation_values: { type: 1, target: "everything", arguments: values },
  invocation_array16: { type: 1, target: "list", arguments: [Array.from({ length: 20 }, (_, i) => i)] },
  stream_item_headers: { type: 2, headers: { n: "v" }, invocationId: "10", item: "a" },
  completion_headers: { type: 3, headers: { n: "v" }, invocationId: "7", result: "a" },
  stream_invocation_headers: { type: 4, headers: { n: "v" }, invocationId: "12", target: "counter", arguments: [1] },
  cancel_invocation_headers: { type: 5, headers: { n: "v" }, invocationId: "12" },
  stream_item: { type: 2, invocationId: "10", item: { n: 1 } },
  stream_item_null: { type: 2, invocationId: "10", item: null },
  completion_result: { type: 3, invocationId: "7", result: [1, 2] },
  completion_null: { type: 3, invocationId: "7", result: null },
  completion_void: { type: 3, invocationId: "7" },
  completion_error: { type: 3, invocationId: "7", error: "it \"failed\"" },
  stream_invocation: { type: 4, invocationId: "12", target: "counter", arguments: [10, 500] },
  stream_invocation_streams: { type: 4, invocationId: "13", target: "echo", arguments: [], streamIds: ["14"] },
  cancel_invocation: { type: 5, invocationId: "12" },
  ping: { type: 6 },
  ack: { type: 8, sequenceId: 5 },
  ack_large: { type: 8, sequenceId: 70000 },
  sequence: { type: 9, sequenceId: 200 },
};
// The MessagePack package writes only the Close of a client: [7, nil].
const jsonOnly = {
  close: { type: 7 },
  close_error: { type: 7, error: "bye" },
  close_come_back: { type: 7, allowReconnect: true },
  close_reconnect: { type: 7, error: "bye", allowReconnect: true },
};
const messagePackOnly = {
  close_client: { type: 7 },
  invocation_binary_and_time: { type: 1, target: "types", arguments: [bytes, time, new Date(0), new Date(-1)] },
};

function write(folder, name, data) {
  const path = join(dirname(fileURLToPath(import.meta.url)), folder);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, `${name}.golden`), typeof data === "string" ? data : Buffer.from(data));
}

const json = new JsonHubProtocol();
for (const [name, message] of Object.entries({ ...messages, ...jsonOnly })) {
  write("json", name, json.writeMessage(message));
}
const messagePack = new MessagePackHubProtocol();
for (const [name, message] of Object.entries({ ...messages, ...messagePackOnly })) {
  write("messagepack", name, messagePack.writeMessage(message));
}
const handshake = new HandshakeProtocol();
for (const protocol of ["json", "messagepack"]) {
  for (const version of [1, 2]) {
    write("handshake", `${protocol}_${version}`, handshake.writeHandshakeRequest({ protocol, version }));
  }
}
// Only servers write responses: these are what the official client reads as such.
for (const [name, response] of Object.entries({ response: {}, response_error: { error: 'the "text"' } })) {
  const text = TextMessageFormat.write(JSON.stringify(response));
  const [rest, read] = handshake.parseHandshakeResponse(text);
  if (rest || read.error !== response.error) throw new Error(`the client reads ${text} as ${JSON.stringify(read)}`);
  write("handshake", name, text);
}
