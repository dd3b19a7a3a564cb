// The load generator, as a customer would run it.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { matrix } from "../service.mjs";
import { stack } from "../stack.mjs";

const { service_url: front, pids, tenants: [demo] } = await stack();
const program = join(resolve(import.meta.dirname, "..", ".."), "bin", "loadgen");
const run = promisify(execFile);

for (const [transport, protocol] of matrix) {
  test(`${transport} with ${protocol}: nothing is lost, and what is printed adds up`, async () => {
    const name = { WebSockets: "websockets", ServerSentEvents: "sse", LongPolling: "longpolling" }[transport];
    const { stdout } = await run(program, [
      "-url", front, "-key", demo.access_key, "-hub", "load", "-transport", name, "-protocol", protocol, "-connections", "12", "-group-size", "6",
      "-rate", "20", "-warmup", "200ms", "-duration", "1s", "-pid", pids.edges.join(), "-json",
    ]);
    const result = JSON.parse(stdout);
    assert.deepEqual([result.connections, result.lost, result.ended], [12, 0, 0], stdout);
    assert.ok(result.publishes >= 1 && result.publishes <= 20, stdout);
    assert.ok(result.p50_ms > 0 && result.p50_ms <= result.p99_ms && result.p99_ms <= result.max_ms, stdout);
    assert.ok(result.memory_bytes > 0, stdout);
  });
}

test("what can't be run is refused with what is accepted", async () => {
  const { stderr } = await run(program, ["-connections", "0", "-transport", "carrier-pigeon", "-size", "3"]).catch((error) => error);
  for (const told of ["-key is missing", "-connections is 0: accepted is 1 to 60000", "accepted is websockets, sse, longpolling", "-size is 3: accepted is 21 to 1048576"]) {
    assert.ok(stderr.includes(told), stderr);
  }
});
