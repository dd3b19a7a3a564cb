// An edge that is killed takes its connections with it; their clients are soon
// on another edge, through the front and without being told.
import assert from "node:assert/strict";
import { test } from "node:test";

import { HttpTransportType, HubConnectionBuilder, LogLevel } from "@microsoft/signalr";

import { call } from "../account.mjs";
import { at, clientToken, connect, eventually, publish, within } from "../service.mjs";
import { stack } from "../stack.mjs";

const { api_url: api, api_token: apiToken, service_url: front, tenants: [demo] } = await stack();
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

/** A client that notes what it got of each group while it was connected. */
async function listen(t, hub, group, transport) {
  const spans = [{}];
  const connection = new HubConnectionBuilder()
    .withUrl(at(front, demo).client(hub), {
      transport: HttpTransportType[transport],
      accessTokenFactory: () => clientToken(demo, { hub, user: `user-${group}`, "sbx.groups": group }),
    })
    .withAutomaticReconnect([0, 200, 500, 1000, 2000, 5000, 5000])
    .configureLogging(LogLevel.None)
    .build();
  const client = { name: `${group} over ${transport}`, group, spans, closed: undefined };
  connection.on("number", (to, n) => (spans.at(-1)[to] ??= []).push(n));
  connection.onreconnecting(() => spans.push({}));
  connection.onclose((error) => (client.closed = error ?? "closed"));
  await within(connection.start(), `${client.name} to connect`);
  t.after(() => connection.stop());
  return client;
}

test("while a hub's partitions change and an edge is killed, clients get each message in order or are told", async (t) => {
  const hub = "failover-partitions";
  const bearer = { authorization: `Bearer ${apiToken}` };
  const place = `/v1/tenants/demo/hubs/${hub}`;
  const rooms = ["red", "green", "blue"];
  const clients = await Promise.all(rooms.flatMap((room) => ["WebSockets", "ServerSentEvents"].map((transport) => listen(t, hub, room, transport))));

  // One publisher for each group, one user and all. What isn't answered is sent again
  // with its key, so everything is accepted once.
  const ways = { ...Object.fromEntries(rooms.map((room) => [room, `/groups/${room}`])), "user-red": "/users/user-red", all: "" };
  const published = {};
  let publishing = true;
  const publishers = Object.entries(ways).map(async ([to, path]) => {
    while (publishing) {
      const n = (published[to] ?? 0) + 1;
      const answer = await fetch(`${at(front, demo).rest}/hubs/${hub}${path}`, {
        method: "POST",
        headers: { authorization: `Bearer ${demo.access_key}`, "content-type": "application/json", "idempotency-key": `${to}-${n}` },
        body: JSON.stringify({ target: "number", arguments: [to, n] }),
      }).catch(() => ({ status: 0 }));
      if (answer.status === 202) published[to] = n;
      else assert.ok(answer.status === 0 || answer.status >= 500, `publish to ${to}: ${answer.status} ${await answer.text?.()}`);
      await new Promise((done) => setTimeout(done, 10));
    }
  });
  t.after(() => (publishing = false));
  const gets = ({ group }, to) => to === group || to === `user-${group}` || to === "all";
  /** Waits until every client has something that is published from now on. */
  const flows = async (what) => {
    const from = { ...published };
    await eventually(() => clients.every((c) => Object.entries(from).every(([to, n]) => !gets(c, to) || c.spans.at(-1)[to]?.at(-1) > n)), what, 40_000);
  };

  await eventually(() => Object.keys(ways).every((to) => published[to] > 5), "the first messages");
  await call(api, bearer, "PUT", place, { handler: "broadcast", partitions: 4 }, 201);
  t.after(() => call(api, bearer, "DELETE", place, undefined, 204));
  await eventually(() => clients.every(({ spans }) => spans.length > 1), "every client to be told");
  await flows("messages in partitions");
  const { pids, edge_urls: edges } = await stack();
  process.kill(pids.edges[1], "SIGKILL");
  await flows("messages after an edge was killed");
  publishing = false;
  await Promise.all(publishers);
  await eventually(() => clients.every((c) => Object.entries(published).every(([to, n]) => !gets(c, to) || c.spans.at(-1)[to]?.at(-1) === n)), "the last message of each publisher");

  for (const c of clients) {
    assert.equal(c.closed, undefined, `${c.name} gave up`);
    for (const to of Object.keys(ways)) {
      const all = c.spans.flatMap((span) => span[to] ?? []);
      if (!gets(c, to)) assert.deepEqual(all, [], `${c.name} got what is for ${to}`);
      assert.equal(new Set(all).size, all.length, `${c.name} got something of ${to} twice: ${all}`);
      for (const span of c.spans) {
        const part = span[to] ?? [];
        for (let i = 1; i < part.length; i++) assert.equal(part[i], part[i - 1] + 1, `${c.name}: ${part[i - 1]} of ${to} is followed by ${part[i]}`);
      }
    }
  }
  t.diagnostic(`${Object.values(published).reduce((sum, n) => sum + n)} messages, ${clients.map(({ spans }) => spans.length - 1)} reconnects`);
  await eventually(async () => (await stack()).pids.edges[1] !== pids.edges[1], "the edge to be started again");
  await eventually(async () => (await fetch(`${edges[1]}/api/health`, { method: "HEAD" }).catch(() => ({}))).status === 200, "the edge to serve again");
});
