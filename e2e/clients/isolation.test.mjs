// SEC-01: two tenants with equal names for everything. Whatever is sent, by
// whatever kind, over whatever transport, not one frame crosses.
import assert from "node:assert/strict";
import { test } from "node:test";

import { clientToken, connect, matrix, publish, rest, sign } from "../service.mjs";
import { stack } from "../stack.mjs";

const { edge_urls: edges, service_url: front, tenants } = await stack();
const [demo, other] = tenants;
const hub = "shared";
const users = ["ann", "bob"];
const groups = ["team", "room 1", "日本"];
const rounds = 150;

/** Connects one client of the tenant for each transport and protocol, alternating edges. */
async function population(t, tenant) {
  const clients = await Promise.all(
    matrix.map(([transport, protocol], i) =>
      connect(t, edges[i % edges.length], tenant, { hub, transport, protocol, user: users[i % users.length], targets: ["message", "end"] }),
    ),
  );
  for (const [i, client] of clients.entries()) {
    const path = `/hubs/${hub}/groups/${encodeURIComponent(groups[i % groups.length])}/connections/${client.id}`;
    const joined = await rest(front, tenant, "PUT", path);
    assert.equal(joined.status, 200, `join: ${await joined.text()}`);
  }
  for (const user of users) {
    const joined = await rest(front, tenant, "PUT", `/hubs/${hub}/groups/everybody/users/${user}`);
    assert.equal(joined.status, 202, `join user: ${await joined.text()}`);
  }
  return clients;
}

/** Small and repeatable, so that a failure can be run again. */
function random(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state % below;
  };
}

test("SEC-01 no frame of one tenant reaches the other, whatever is sent", async (t) => {
  const seed = Date.now() >>> 0;
  t.diagnostic(`seed ${seed}`);
  const pick = random(seed);
  const clients = new Map();
  for (const tenant of tenants) clients.set(tenant.slug, await population(t, tenant));

  const kinds = [
    () => "",
    () => `/users/${users[pick(users.length)]}`,
    () => `/groups/${encodeURIComponent(groups[pick(groups.length)])}`,
    () => "/groups/everybody",
    // Connection ids of either tenant: the other's must be as good as unknown.
    () => `/connections/${clients.get(tenants[pick(2)].slug)[pick(matrix.length)].id}`,
    () => `?excluded=${clients.get(tenants[pick(2)].slug)[pick(matrix.length)].id}`,
    () => `/groups/everybody?excluded=${clients.get(tenants[pick(2)].slug)[pick(matrix.length)].id}`,
  ];
  for (let i = 0; i < rounds; i++) {
    const tenant = tenants[pick(2)];
    const kind = kinds[i % kinds.length];
    await publish([front, ...edges][pick(3)], tenant, `/hubs/${hub}${kind()}`, "message", tenant.slug, i);
  }
  for (const tenant of tenants) {
    await publish(front, tenant, `/hubs/${hub}`, "end", tenant.slug);
    for (const client of clients.get(tenant.slug)) await client.message(({ target }) => target === "end", `the end of ${tenant.slug}`);
  }
  for (const tenant of tenants) {
    for (const client of clients.get(tenant.slug)) {
      const foreign = client.received.filter(({ args: [slug] }) => slug !== tenant.slug);
      assert.deepEqual(foreign, [], `frames of another tenant at ${tenant.slug}`);
      assert.ok(client.received.length > 1, "a client that received nothing proves nothing");
    }
  }
});

test("what one tenant has, the other can neither see nor close", async (t) => {
  const mine = await connect(t, edges[0], demo, { hub, user: "only-demo" });
  await rest(front, demo, "PUT", `/hubs/${hub}/groups/only-demo/connections/${mine.id}`);
  for (const path of [`/connections/${mine.id}`, "/groups/only-demo", "/users/only-demo"]) {
    assert.equal((await rest(front, demo, "HEAD", `/hubs/${hub}${path}`)).status, 200, `demo sees ${path}`);
    assert.equal((await rest(front, other, "HEAD", `/hubs/${hub}${path}`)).status, 404, `other sees ${path}`);
  }
  await rest(front, other, "DELETE", `/hubs/${hub}/connections/${mine.id}`);
  await publish(front, demo, `/hubs/${hub}/connections/${mine.id}`, "message", "still here");
  await mine.message(({ args: [text] }) => text === "still here", "a message after the other tenant's close");
});

test("a token of one tenant opens nothing of the other", async () => {
  const now = Math.floor(Date.now() / 1000);
  const negotiate = (tenant, token, name = hub) =>
    fetch(`${tenant.rest_url}/client/negotiate?hub=${name}&negotiateVersion=1`, { method: "POST", headers: token ? { authorization: `Bearer ${token}` } : {} });
  assert.equal((await negotiate(demo, clientToken(demo, { hub }))).status, 200);
  assert.equal((await negotiate(other, clientToken(other, { hub }))).status, 200);

  const audience = `${other.rest_url}/client/?hub=${hub}`;
  const refused = {
    "no token": undefined,
    "no token at all": "nonsense",
    "the other tenant's key": clientToken(demo, { hub }),
    "the other tenant's key with the right audience": clientToken(other, { hub, key: demo.access_key }),
    "another hub": clientToken(other, { hub: "elsewhere" }),
    expired: clientToken(other, { hub, seconds: -120 }),
    "no expiry": sign({ aud: audience }, other.access_key),
    "valid for ten years": clientToken(other, { hub, seconds: 10 * 365 * 86400 }),
    "unsigned": sign({ aud: audience, exp: now + 60 }, other.access_key, { alg: "none", typ: "JWT" }).replace(/[^.]*$/, ""),
    "the access key itself": other.access_key,
  };
  for (const [name, token] of Object.entries(refused)) {
    const response = await negotiate(other, token);
    assert.equal(response.status, 401, name);
    assert.doesNotMatch(await response.text(), /\.go:|redis|postgres/i, name);
  }
  // A token of the right tenant for the wrong purpose is another matter.
  assert.equal((await negotiate(other, sign({ aud: `${other.rest_url}/api/v1/hubs/${hub}`, exp: now + 60 }, other.access_key))).status, 403);

  // An unknown tenant looks the same as a bad token.
  const unknown = await negotiate({ rest_url: `${front}/t/no-such-tenant` }, clientToken(other, { hub }));
  const bad = await negotiate(other, clientToken(demo, { hub }));
  assert.equal(unknown.status, bad.status);

  const forged = await fetch(`${other.rest_url}/api/v1/hubs/${hub}`, {
    method: "POST",
    headers: { authorization: `Bearer ${demo.access_key}`, "content-type": "application/json" },
    body: JSON.stringify({ target: "message", arguments: [] }),
  });
  assert.equal(forged.status, 401);
  const clientOnRest = await fetch(`${other.rest_url}/api/v1/hubs/${hub}`, {
    method: "POST",
    headers: { authorization: `Bearer ${clientToken(other, { hub })}`, "content-type": "application/json" },
    body: JSON.stringify({ target: "message", arguments: [] }),
  });
  assert.equal(clientOnRest.status, 403);
});

test("a tenant's own port is that tenant, and takes no other prefix", async (t) => {
  const port = Number(new URL(front).port) + 1;
  const own = `http://localhost:${port}`;
  const response = await fetch(`${own}/api/v1/hubs/${hub}/connections/none`, { method: "HEAD", headers: { authorization: `Bearer ${other.access_key}` } });
  assert.equal(response.status, 404);
  const wrong = await fetch(`${own}/t/demo/api/v1/hubs/${hub}/connections/none`, { headers: { authorization: `Bearer ${demo.access_key}` } });
  assert.equal(wrong.status, 400);
});
