// Tokens that end before their time: revoked by the control plane, on live
// connections over every transport and protocol and on every edge, with Redis and
// without; and tokens that are refreshed on a live connection.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { call, signUp } from "../account.mjs";
import { at, clientToken, connect, eventually, matrix, rest, within } from "../service.mjs";
import { stack } from "../stack.mjs";

const { api_url: api, edge_urls: edges, pids, tenants: [demo] } = await stack();

/** A client on every edge over every transport and protocol, each with a promise of its end. */
async function everywhere(t, tenant, options) {
  const all = [];
  for (const edge of edges) {
    for (const [transport, protocol] of matrix) {
      const client = await connect(t, edge, tenant, { hub: "chat", transport, protocol, ...options });
      client.closed = new Promise((done) => client.connection.onclose((error) => done({ error, at: Date.now() })));
      all.push(client);
    }
  }
  return all;
}

/** Waits until all are closed for good, and says how long the last one took. */
async function closed(t, clients, since, what) {
  const ends = await within(Promise.all(clients.map((c) => c.closed)), what, 40_000);
  for (const { error } of ends) assert.match(error?.message ?? "", /The access (token|key) behind this connection was revoked\./);
  t.diagnostic(`${what}: the last of ${clients.length} connections on ${edges.length} edges was closed ${Math.max(...ends.map((e) => e.at)) - since} ms after the request`);
}

const negotiates = async (edge, tenant, token) =>
  (await fetch(at(edge, tenant).client("chat").replace("/client/?", "/client/negotiate?negotiateVersion=1&"), { method: "POST", headers: { authorization: `Bearer ${token}` } })).status;

/** An account with its keys, and a token of user ann that the control plane made. */
async function account() {
  const { session, tenant } = await signUp(api);
  const mint = async (body) => (await call(api, session, "POST", `/v1/tenants/${tenant.slug}/client-tokens`, { hub: "chat", ...body }, 201)).body;
  const revoke = async (kind, value) => (await call(api, session, "POST", `/v1/tenants/${tenant.slug}/revocations`, { kind, value }, 201)).body;
  const { body: { keys } } = await call(api, session, "GET", `/v1/tenants/${tenant.slug}/keys`);
  const secondary = async () => (await call(api, session, "POST", `/v1/tenants/${tenant.slug}/keys/secondary/regenerate`)).body;
  return { session, tenant, mint, revoke, keys, secondary, ann: await mint({ user_id: "ann" }) };
}

describe("revocation, from the control plane to live connections on three edges", () => {
  for (const kind of ["token", "user", "key"]) {
    test(`by ${kind}`, async (t) => {
      const { session, tenant, revoke, mint, keys, ann, secondary } = await account();
      const other = (await secondary()).secret;
      const live = await everywhere(t, tenant, { token: ann.token });
      const bystanders = await everywhere(t, tenant, { token: clientToken(tenant, { hub: "chat", user: "bob", key: other }) });
      const began = Date.now();
      const revocation = await revoke(kind, { token: ann.id, user: "ann", key: keys.find(({ slot }) => slot === "primary").id }[kind]);
      await closed(t, live, began, `by ${kind}`);
      for (const edge of edges) assert.equal(await negotiates(edge, tenant, ann.token), 401);

      // The key itself is a bearer; it is one no more when it was revoked, and nothing that it signs is good.
      const send = () => rest(edges[0], tenant, "POST", "/hubs/chat", { target: "message", arguments: [kind] });
      const sent = await send();
      assert.equal(sent.status, kind === "key" ? 401 : 202, await sent.text());
      if (kind === "key") {
        assert.equal(await negotiates(edges[1], tenant, clientToken(tenant, { hub: "chat", user: "cid" })), 401, "a token that the revoked key signs now");
        assert.equal(await negotiates(edges[1], tenant, (await mint({ user_id: "cid" })).token), 200, "the control plane signs with the other key");
        const secondaryKey = { ...tenant, access_key: other };
        assert.equal((await rest(edges[2], secondaryKey, "POST", "/hubs/chat", { target: "message", arguments: [kind] })).status, 202);
      }
      await Promise.all(bystanders.map((c) => c.message(({ args }) => args[0] === kind, "what others get")));
      if (kind !== "key") return;
      await call(api, session, "DELETE", `/v1/tenants/${tenant.slug}/revocations/${revocation.id}`, undefined, 204);
      await eventually(async () => (await send()).status === 202, "the key to be good again");
    });
  }

  test("while Redis is away, and when it is back", async (t) => {
    const { tenant, revoke, mint, ann } = await account();
    const live = await everywhere(t, tenant, { token: ann.token });
    const dora = await mint({ user_id: "dora" });
    process.kill(pids.redis, "SIGSTOP");
    try {
      const began = Date.now();
      await revoke("user", "ann");
      await closed(t, live, began, "Redis away");
      for (const edge of edges) assert.equal(await negotiates(edge, tenant, ann.token), 401);
    } finally {
      process.kill(pids.redis, "SIGCONT");
    }
    await eventually(async () => {
      const statuses = await Promise.all(edges.map((edge) => negotiates(edge, tenant, dora.token)));
      return statuses.every((status) => status === 200);
    }, "the edges to have Redis again", 30_000);
    for (const edge of edges) assert.equal(await negotiates(edge, tenant, ann.token), 401);
    const again = await everywhere(t, tenant, { token: dora.token });
    const began = Date.now();
    await revoke("token", dora.id);
    await closed(t, again, began, "Redis back");
  });
});

describe("a token is refreshed on a live connection", { concurrency: true }, () => {
  for (const [transport, protocol] of matrix) {
    test(`${transport}, ${protocol}`, async (t) => {
      // Good for some seconds more, by the leeway for clocks; then the connection ends.
      const exp = Math.floor(Date.now() / 1000) - 53;
      const short = () => clientToken(demo, { hub: "refresh", user: "ann", iat: exp - 60, nbf: exp - 60, exp, "asrs.s.coae": "true", "asrs.s.aeo": String(exp + 60) });
      const options = { transport, protocol, hub: "refresh", token: short() };
      const [stays, goes] = [await connect(t, edges[0], demo, options), await connect(t, edges[1], demo, options)];
      let over = false;
      stays.connection.onclose(() => (over = true));
      const ended = new Promise((done) => goes.connection.onclose(done));
      const token = clientToken(demo, { hub: "refresh", user: "ann", seconds: 3600, "sbx.permissions": ["joinGroup"] });
      await assert.rejects(stays.connection.invoke("$joinGroup", "room"), /permission_denied/);
      await assert.rejects(stays.connection.invoke("$refreshToken", clientToken(demo, { hub: "refresh", user: "bob" })), /wrong_user/);
      const id = stays.id;
      await stays.connection.invoke("$refreshToken", token);
      await within(ended, "the client that didn't refresh to be closed");
      // The official client goes on sending the token that it has connected with.
      await stays.connection.invoke("$joinGroup", "room");
      await rest(edges[2], demo, "POST", "/hubs/refresh/groups/room", { target: "message", arguments: ["still here"] });
      await stays.message(({ args }) => args[0] === "still here", "a message after the first token's end");
      assert.deepEqual([over, stays.id], [false, id]);
    });
  }
});
