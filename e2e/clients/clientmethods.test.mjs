// The methods whose names begin with $, called by the official client over every
// transport and protocol, whoever handles the hub: none of them sees such a name,
// and one that claims to have such methods is never asked.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { describe, test } from "node:test";

import { call } from "../account.mjs";
import { Hub } from "../behind/peer.mjs";
import { clientToken, connect, eventually, matrix, publish } from "../service.mjs";
import { stack } from "../stack.mjs";

const { api_url: api, api_token: apiToken, edge_urls: edges, service_url: front, tenants: [demo] } = await stack();
const bearer = { authorization: `Bearer ${apiToken}` };
const own = ["$joinGroup", "$leaveGroup", "$sendToGroup", "$refreshToken", "$nothing", "$"];

/** Gives the hub its handler; what that is called with is in seen. */
const handlers = {
  async broadcast(t, hub) {
    await settings(t, hub, { handler: "broadcast" });
    return { seen: [] };
  },
  azure: (t, hub) => upstream(t, hub, "azure"),
  native: (t, hub) => upstream(t, hub, "native"),
  async "app server"(t, hub) {
    await settings(t, hub, { handler: "app_server" });
    const seen = [];
    const methods = Object.fromEntries(["echo", ...own].map((name) => [name, (value) => (seen.push(name), value)]));
    const app = new Hub(demo.connection_string, hub, { methods }, { connections: 3 });
    await new Promise((done) => app.once("ready", done));
    t.after(() => app.shutdown({ fin: 0, patience: 0 }));
    return { seen, echoes: true };
  },
};

async function settings(t, hub, body) {
  await call(api, bearer, "PUT", `/v1/tenants/demo/hubs/${hub}`, body, 201);
  t.after(() => call(api, bearer, "DELETE", `/v1/tenants/demo/hubs/${hub}`, undefined, 204));
}

/** An upstream that answers to every name, and claims that the client has joined. */
async function upstream(t, hub, mode) {
  const seen = [];
  const server = createServer(async (request, response) => {
    if (request.method === "OPTIONS") return response.writeHead(200, { "webhook-allowed-origin": "*" }).end();
    const body = Buffer.concat(await request.toArray());
    const name = decodeURIComponent(new URL(request.url, "http://x").pathname.slice(1));
    if (!["connected", "disconnected"].includes(name)) seen.push(name);
    if (mode === "native" && name === "echo") return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(JSON.parse(body).arguments[0]));
    if (name === "echo" && request.headers["content-type"] === "application/json") {
      const { invocationId, arguments: [result] } = JSON.parse(body);
      return response.end(`${JSON.stringify({ type: 3, invocationId, result })}\u001e`);
    }
    return response.writeHead(204).end();
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => (server.closeAllConnections(), server.close()));
  if (mode === "native") await call(api, bearer, "POST", "/v1/tenants/demo/webhook-secrets/rotate", {}, 201);
  await settings(t, hub, { handler: "upstream", upstream: { mode, rules: [{ url: `http://127.0.0.1:${server.address().port}/{event}` }] } });
  return { seen, echoes: true };
}

const permissions = ["joinGroup:room-*", "leaveGroup", "sendToGroup:room-*"];
const tokenOf = (hub, user, more) => clientToken(demo, { hub, user, "sbx.permissions": permissions, ...more });

/** Fails with this code. */
const refused = (promise, code) => assert.rejects(promise, new RegExp(`HubException: ${code}: `));

/** The error that ends a stream. */
const streamed = (connection, ...args) => new Promise((done, failed) => connection.stream(...args).subscribe({ next: done, complete: done, error: failed }));

for (const [name, handle] of Object.entries(handlers)) {
  describe(name, () => {
    test("every transport and protocol", async (t) => {
      const hub = `dollar-${name.replace(" ", "-")}`;
      const { seen, echoes } = await handle(t, hub);
      const observer = await connect(t, edges[2], demo, { hub, token: tokenOf(hub, "observer"), reconnect: [0, 100, 1000] });
      let called = 0;
      for (const [i, [transport, protocol]] of matrix.entries()) {
        const client = await connect(t, edges[i % edges.length], demo, { hub, transport, protocol, token: tokenOf(hub, "ann"), targets: ["message"] });
        const c = client.connection;
        const room = `room-${name}-${i}`;
        if (echoes && (protocol === "json" || name !== "azure")) {
          await eventually(() => c.invoke("echo", room).then((value) => value === room, () => false), "the hub's handler to answer");
          called++;
        }
        await eventually(() => observer.connection.invoke("$JOINGROUP", room).then(() => true, () => false), "the observer to have joined");
        assert.equal((await c.invoke("$joinGroup", room)) ?? null, null);
        await publish(front, demo, `/hubs/${hub}/groups/${room}`, "message", "from a backend");
        assert.deepEqual((await client.message(() => true, "what a backend sends")).args, ["from a backend"]);

        const position = await c.invoke("$sendToGroup", room, "message", [1, { deep: [true] }]);
        assert.match(position, /^[A-Za-z0-9_-]{20,}$/);
        const sender = { group: room, userId: "ann", connectionId: client.id };
        for (const to of [client, observer]) {
          assert.deepEqual((await to.message(({ args }) => args[0] === 1 && args.at(-1).group === room, "what a client sends")).args, [1, { deep: [true] }, sender]);
        }
        await c.send("$sendToGroup", room, "message", ["without an answer"], { noEcho: true });
        await observer.message(({ args }) => args[0] === "without an answer" && args.at(-1).group === room, "what is sent without an answer");
        assert.ok(!client.received.some(({ args }) => args[0] === "without an answer"));

        assert.equal((await c.invoke("$leaveGroup", room)) ?? null, null);
        await publish(front, demo, `/hubs/${hub}/groups/${room}`, "message", "after the leave");
        await observer.message(({ args }) => args[0] === "after the leave", "what is sent after the leave");
        await publish(front, demo, `/hubs/${hub}/connections/${client.id}`, "message", "the last");
        await client.message(({ args }) => args[0] === "the last", "a direct message");
        assert.ok(!client.received.some(({ args }) => args[0] === "after the leave"));

        await refused(c.invoke("$joinGroup", "elsewhere"), "permission_denied");
        await refused(c.invoke("$sendToGroup", "elsewhere", "message", []), "permission_denied");
        await refused(c.invoke("$sendToGroup", room, "$message", []), "invalid_argument");
        for (const unknown of ["$nothing", "$", "$$joinGroup", "$joinGroup ", "$join\u0000Group"]) await refused(c.invoke(unknown, room), "unknown_method");
        await refused(streamed(c, "$joinGroup", room), "invalid_argument");
        await refused(streamed(c, "$nothing"), "unknown_method");
        assert.deepEqual((await c.invoke("$refreshToken", tokenOf(hub, "ann", { "sbx.permissions": [] }))) ?? {}, {});
        await refused(c.invoke("$joinGroup", room), "permission_denied");
        await client.stop();
      }
      assert.deepEqual(seen.filter((method) => method !== "echo"), [], "the handler has seen a method of the service's own");
      assert.ok(seen.length >= called && (echoes ?? false) === called > 0, "the handler was there");
    });
  });
}
