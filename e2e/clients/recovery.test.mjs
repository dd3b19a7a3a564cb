// The edge of a client with stateful reconnect is killed: no other edge can go on where
// it was, and says so. The official client begins anew, is told of it, and gets what it
// has missed from the history. What it had invoked is lost with the edge.
import assert from "node:assert/strict";
import { createServer as createWebServer } from "node:http";
import { connect as dial, createServer } from "node:net";
import { test } from "node:test";

import { HttpTransportType, HubConnectionBuilder, LogLevel } from "@microsoft/signalr";

import { call } from "../account.mjs";
import { at, Client, clientToken, eventually, publish, within } from "../service.mjs";
import { stack } from "../stack.mjs";

const { api_url: api, api_token: apiToken, edge_urls: edges, tenants: [demo] } = await stack();

/** An upstream of the hub that never answers "hang", and what it was asked. */
async function upstream(t, hub) {
  const asked = [];
  const waiting = [];
  const server = createWebServer((request, response) => {
    if (request.method === "OPTIONS") return response.writeHead(200, { "webhook-allowed-origin": "*" }).end();
    const name = new URL(request.url, "http://x").pathname.slice(1);
    asked.push(name);
    for (const wake of waiting.splice(0)) wake();
    if (name !== "hang") response.writeHead(204).end();
    request.resume();
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => (server.closeAllConnections(), server.close()));
  const bearer = { authorization: `Bearer ${apiToken}` };
  const place = `/v1/tenants/demo/hubs/${hub}`;
  const rules = [{ url: `http://127.0.0.1:${server.address().port}/{event}`, category: "messages" }];
  await call(api, bearer, "PUT", place, { handler: "upstream", upstream: { mode: "azure", rules, timeout_seconds: 30 } }, 201);
  t.after(() => call(api, bearer, "DELETE", place, undefined, 204));
  const times = (name) => asked.filter((each) => each === name).length;
  return {
    times,
    async asked(name) {
      while (times(name) === 0) await within(new Promise((done) => waiting.push(done)), `the upstream to be asked for ${name}`);
    },
  };
}

/** A proxy whose sockets go to the first place until that is gone, then to the second. */
async function proxy(t, places) {
  const answers = [];
  const sockets = new Set();
  const server = createServer((inner) => {
    sockets.add(inner);
    const { hostname, port } = new URL(places.now);
    const outer = dial(port, hostname);
    sockets.add(outer);
    outer.on("data", (data) => answers.push(data.toString("latin1").split("\r\n", 1)[0]));
    for (const [from, to] of [[inner, outer], [outer, inner]]) {
      from.on("data", (data) => to.write(data));
      from.on("error", () => {});
      from.on("close", () => to.destroy());
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => {
    for (const s of sockets) s.destroy();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, answers };
}

test("D5 D9 a client whose edge is killed is refused elsewhere, told, and recovers what it missed", async (t) => {
  const hub = "recovery";
  const handler = await upstream(t, hub);
  const places = { now: edges[0] };
  const line = await proxy(t, places);
  const told = [];
  const connection = new HubConnectionBuilder()
    .withUrl(at(line.url, demo).client(hub), {
      transport: HttpTransportType.WebSockets,
      accessTokenFactory: () => clientToken(demo, { hub, user: "ada", "sbx.permissions": ["joinGroup", "readHistory"] }),
    })
    .withStatefulReconnect()
    .withAutomaticReconnect([0, 100, 200, 500, 1000, 2000, 5000])
    .configureLogging(LogLevel.None)
    .build();
  connection.onclose((error) => told.push(`closed: ${error}`));
  connection.onreconnecting(() => told.push("reconnecting"));
  const back = new Promise((done) => connection.onreconnected(done));
  back.then(() => told.push("reconnected"));
  const client = new Client(connection, ["message"]);
  await within(connection.start(), "the client to connect");
  t.after(() => connection.stop());
  const before = client.id;

  const send = (n) => publish(edges[1], demo, `/hubs/${hub}/groups/room`, "message", n);
  const { position } = await within(connection.invoke("$joinGroup", "room", { rewind: { last: 1 } }), "the join");
  for (let n = 0; n < 20; n++) await send(n);
  await client.message(({ args: [n] }) => n === 19, "what is sent while all is well");
  const seen = client.received.length;
  const lost = connection.invoke("hang").then(() => "answered", (error) => `failed: ${error.message}`);
  await handler.asked("hang");

  const { pids } = await stack();
  line.answers.length = 0;
  places.now = edges[1];
  process.kill(pids.edges[0], "SIGKILL");
  for (let n = 20; n < 40; n++) await send(n);
  await within(back, "the client to be back");
  assert.ok(line.answers.some((head) => head.startsWith("HTTP/1.1 404")), `the return was not refused: ${line.answers}`);
  assert.deepEqual(told, ["reconnecting", "reconnected"]);
  assert.notEqual(client.id, before, "the connection was taken for the old one");
  assert.equal(client.received.length, seen, "something came before the client asked for it");
  assert.match(await within(lost, "the invocation under way to fail"), /^failed: /);

  const rejoined = await within(connection.invoke("$joinGroup", "room", { rewind: { after: position } }), "the join with what was missed");
  await send(40);
  await client.message(({ args: [n] }) => n === 40, "what is sent afterwards");
  const numbers = client.received.slice(seen).map(({ args: [n] }) => n);
  assert.deepEqual(numbers, Array.from({ length: 41 }, (_, n) => n), "after the position of its join, in order and once");
  assert.deepEqual([rejoined.messages, rejoined.gone], [40, undefined]);
  await within(connection.invoke("next"), "an invocation over the new connection");
  assert.deepEqual([handler.times("hang"), handler.times("next")], [1, 1], "an invocation was carried out again");

  await eventually(async () => (await stack()).pids.edges[0] !== pids.edges[0], "the edge to be started again");
  await eventually(async () => (await fetch(`${edges[0]}/api/health`, { method: "HEAD" }).catch(() => ({}))).status === 200, "the edge to serve again");
});
