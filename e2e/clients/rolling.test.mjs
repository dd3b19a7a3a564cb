// The edges are replaced one by one under load, as a deployment does it: clients
// with automatic reconnect miss nothing while they are connected, and backends
// don't notice.
import assert from "node:assert/strict";
import { test } from "node:test";

import { HttpTransportType, HubConnectionBuilder, JsonHubProtocol, LogLevel } from "@microsoft/signalr";
import { MessagePackHubProtocol } from "@microsoft/signalr-protocol-msgpack";

import { at, clientToken, eventually, matrix, rest, within } from "../service.mjs";
import { stack } from "../stack.mjs";

const { service_url: front, tenants: [demo] } = await stack();
const hub = "rolling";
const rounds = [...matrix, ["WebSockets", "json", true], ["WebSockets", "messagepack", true]];

/** A client that notes, for each of its connections, the numbers that it got. */
async function listen(t, [transport, protocol, stateful]) {
  const builder = new HubConnectionBuilder()
    .withUrl(at(front, demo).client(hub), {
      transport: HttpTransportType[transport],
      accessTokenFactory: () => clientToken(demo, { hub }),
    })
    .withHubProtocol(protocol === "json" ? new JsonHubProtocol() : new MessagePackHubProtocol())
    .withAutomaticReconnect([0, 200, 500, 1000, 2000])
    .configureLogging(LogLevel.None);
  if (stateful) builder.withStatefulReconnect({ bufferSize: 100_000 });
  const connection = builder.build();
  const client = { name: `${transport} ${protocol}${stateful ? " stateful" : ""}`, spans: [[]], reconnects: [], closed: undefined };
  connection.on("number", (n) => client.spans.at(-1).push(n));
  connection.onreconnecting(() => {
    client.reconnects.push(Date.now());
    client.spans.push([]);
  });
  connection.onclose((error) => (client.closed = error ?? "closed"));
  await within(connection.start(), `${client.name} to connect`);
  t.after(() => connection.stop());
  return client;
}

test("edges are replaced one by one under load", async (t) => {
  const clients = await Promise.all(Array.from({ length: 6 }, () => rounds).flat().map((kind) => listen(t, kind)));
  let publishing = true;
  let published = 0;
  const refused = [];
  const publisher = (async () => {
    while (publishing) {
      const n = published + 1;
      const answer = await rest(front, demo, "POST", `/hubs/${hub}`, { target: "number", arguments: [n] }).then(
        (r) => r.status,
        (error) => String(error.cause ?? error),
      );
      if (answer === 202) published = n;
      else refused.push(answer);
      await new Promise((done) => setTimeout(done, 20));
    }
  })();

  const before = await stack();
  process.kill(before.pids.dev, "SIGUSR1");
  await eventually(
    async () => {
      const { pids, admin_urls: admin } = await stack();
      if (pids.edges.some((pid, i) => pid === before.pids.edges[i])) return false;
      const ready = await Promise.all(admin.edges.map((url) => fetch(`${url}/readyz`).then((r) => r.ok, () => false)));
      return ready.every(Boolean);
    },
    "every edge to be replaced",
    90_000,
  );
  const until = published + 20;
  await eventually(() => published >= until, "messages after the last replacement");
  publishing = false;
  await publisher;
  await eventually(() => clients.every(({ spans }) => spans.at(-1).at(-1) === published), "every client to have the last message").catch((error) => {
    for (const { name, spans, closed } of clients) if (spans.at(-1).at(-1) !== published) t.diagnostic(`${name}: ${spans.at(-1).at(-1)} of ${published}, ${closed}`);
    throw error;
  });

  assert.deepEqual(refused, [], "a publish was refused or failed");
  for (const { name, spans, closed } of clients) {
    assert.equal(closed, undefined, `${name} gave up`);
    for (const span of spans) {
      // While it was connected it got every message, in order, and once.
      for (let i = 1; i < span.length; i++) assert.equal(span[i], span[i - 1] + 1, `${name}: ${span[i - 1]} is followed by ${span[i]}`);
    }
    const all = spans.flat();
    assert.equal(new Set(all).size, all.length, `${name} got a message twice`);
  }
  const reconnects = clients.flatMap(({ reconnects }) => reconnects).sort((a, b) => a - b);
  t.diagnostic(`${clients.length} clients, ${published} messages, ${reconnects.length} reconnects over ${reconnects.at(-1) - reconnects[0]} ms`);
  assert.ok(reconnects.length >= clients.length, "every edge had been replaced, and so had each client's");
});
