// An edge that is killed takes its connections with it; their clients are soon
// on another edge, through the front and without being told.
import assert from "node:assert/strict";
import { test } from "node:test";

import { connect, eventually, publish, within } from "../service.mjs";
import { stack } from "../stack.mjs";

const { service_url: front, tenants: [demo] } = await stack();
const quickly = [0, 200, 500, 1000, 2000, 5000];

test("clients of a killed edge reconnect to the other and receive again", async (t) => {
  const hub = "failover";
  const clients = await Promise.all(
    ["WebSockets", "WebSockets", "ServerSentEvents", "ServerSentEvents", "LongPolling", "LongPolling"].map((transport) =>
      connect(t, front, demo, { hub, transport, reconnect: quickly }),
    ),
  );
  const reconnected = new Set();
  for (const client of clients) client.connection.onreconnected(() => reconnected.add(client));

  const { pids, edge_urls: edges } = await stack();
  process.kill(pids.edges[0], "SIGKILL");

  // The service goes on for everybody else: each client hears of it in the end.
  const heard = (i) => clients[i].received.some(({ args: [text] }) => text === "after");
  await eventually(async () => {
    await publish(front, demo, `/hubs/${hub}`, "message", "after").catch(() => undefined);
    return clients.every((_, i) => heard(i));
  }, "every client to receive again", 40_000);
  t.diagnostic(`${reconnected.size} of ${clients.length} clients reconnected`);
  assert.ok(reconnected.size > 0, "no client had been on the killed edge");
  assert.ok(reconnected.size < clients.length, "a client of the other edge was disturbed");

  await eventually(async () => (await stack()).pids.edges[0] !== pids.edges[0], "the edge to be started again");
  await within(
    eventually(async () => (await fetch(`${edges[0]}/api/health`, { method: "HEAD" }).catch(() => ({}))).status === 200, "the edge to serve again"),
    "the edge to serve again",
  );
});
