// From sign-up to the ledger: what a new account gets works at once, its limits
// hold, and what it used is what it sees.
import assert from "node:assert/strict";
import { test } from "node:test";

import { call, signUp } from "../account.mjs";
import { connect, eventually, publish, rest } from "../service.mjs";
import { stack } from "../stack.mjs";

const { api_url: api, api_token: apiToken, account, edge_urls: edges, service_url: front, tenants } = await stack();

test("a new account's tenant, hub, key and tokens work at once, and its usage is exact", async (t) => {
  const { tenant, token, session } = await signUp(api);
  const first = await connect(t, edges[0], tenant, { token });
  const second = await connect(t, edges[1], tenant, { transport: "LongPolling" });
  for (let i = 0; i < 5; i++) await publish(front, tenant, "/hubs/chat", "message", i);
  for (const client of [first, second]) await client.message(({ args: [i] }) => i === 4, "the last message");

  const usage = () => call(api, session, "GET", `/v1/tenants/${tenant.slug}/usage?step=minute`).then(({ body }) => body.totals);
  await eventually(async () => (await usage()).messages_delivered >= 10, "the usage to be there", 20_000);
  const totals = await usage();
  assert.equal(totals.messages_accepted, 5);
  assert.equal(totals.messages_delivered, 10);
  assert.equal(totals.messages, 15);
  assert.equal(totals.connections_opened, 2);

  const { body: activity } = await call(api, session, "GET", `/v1/tenants/${tenant.slug}/activity`);
  assert.ok(activity.first_connection_at && activity.first_message_at, JSON.stringify(activity));
  assert.equal(activity.connections_now, 2);

  // Nobody else sees any of it.
  for (const path of ["", "/keys", "/usage", "/activity", "/hubs", "/limits"]) {
    await call(api, { authorization: `Bearer ${apiToken}` }, "GET", `/v1/tenants/${tenant.slug}${path}`, undefined, 404);
  }
});

test("the seeded account signs in with its password and its API token", async () => {
  const { headers } = await call(api, {}, "POST", "/v1/session", { email: account.email, password: account.password });
  const cookie = headers.getSetCookie()[0].split(";")[0];
  const { body: bySession } = await call(api, { cookie }, "GET", "/v1/tenants");
  const { body: byToken } = await call(api, { authorization: `Bearer ${apiToken}` }, "GET", "/v1/tenants");
  for (const list of [bySession.tenants, byToken.tenants]) {
    const ids = list.map(({ id }) => id);
    for (const { id, slug } of tenants) assert.ok(ids.includes(id), `${slug} is listed`);
  }
  await call(api, {}, "POST", "/v1/session", { email: account.email, password: `${account.password}x` }, 401);
});

test("a regenerated key is refused at once, the other one still works", async () => {
  const { tenant, session } = await signUp(api);
  const send = (key) => rest(front, { ...tenant, access_key: key }, "HEAD", "/hubs/chat/connections/none").then(({ status }) => status);
  await eventually(async () => (await send(tenant.access_key)) === 404, "the first key to work");
  const { body: fresh } = await call(api, session, "POST", `/v1/tenants/${tenant.slug}/keys/primary/regenerate`);
  await eventually(async () => (await send(fresh.secret)) === 404 && (await send(tenant.access_key)) === 401, "the old key to be refused");
});

test("the connection limit refuses the next one and gives way when one leaves", async (t) => {
  const { tenant, session } = await signUp(api);
  const limit = 20;
  await override(session, tenant, "max_connections", limit);
  const clients = [];
  while (clients.length < limit) {
    const batch = Math.min(20, limit - clients.length);
    clients.push(...(await Promise.all(Array.from({ length: batch }, (_, i) => connect(t, edges[i % 2], tenant)))));
  }
  await eventually(async () => {
    const late = await connect(t, edges[clients.length % 2], tenant).catch((error) => error);
    if (late instanceof Error) return refusedFor(late, limit);
    // Within the documented tolerance over several edges.
    clients.push(late);
    assert.ok(clients.length <= limit * 1.02 + 1, `${clients.length} connections, ${limit} allowed`);
    return false;
  }, "a refusal");

  // Somebody else's tenant is not disturbed.
  await connect(t, edges[0], tenants[0]);
  await clients[0].stop();
  await clients[1].stop();
  await clients[2].stop();
  await eventually(async () => {
    const again = await connect(t, edges[0], tenant).catch((error) => error);
    return !(again instanceof Error);
  }, "a connection after others left");
});

test("the message limit refuses with 429 and Retry-After, and leaves others alone", async () => {
  const { tenant, session } = await signUp(api);
  const limit = 5;
  await override(session, tenant, "messages_per_second", limit);
  await override(session, tenant, "message_burst", 10);
  let refusal;
  await eventually(async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => rest(front, tenant, "POST", "/hubs/chat", { target: "message", arguments: [] })),
    );
    refusal = answers.find(({ status }) => status !== 202);
    return refusal !== undefined;
  }, `more than ${limit} messages in a second`, 30_000);
  assert.equal(refusal.status, 429);
  assert.ok(Number(refusal.headers.get("retry-after")) >= 1, "Retry-After in whole seconds");
  const told = await refusal.json();
  assert.deepEqual(
    { code: told.code, scope: told.scope, limit: told.limit, max: told.max, doc: told.doc },
    { code: "rate_limited", scope: "tenant", limit: "messages_per_second", max: limit, doc: "https://signalbox.dev/docs/errors/rate_limited" },
  );
  assert.ok(told.retry_after_ms > 0 && told.request_id);
  await publish(front, tenants[0], "/hubs/chat", "message", "undisturbed");
  await eventually(async () => (await rest(front, tenant, "POST", "/hubs/chat", { target: "message", arguments: [] })).status === 202, "the limit to give way");
});

/** Puts a value in the place of the plan's. */
async function override(session, tenant, limit, max) {
  const { body } = await call(api, session, "PUT", `/v1/tenants/${tenant.slug}/limits/${limit}`, { max });
  assert.deepEqual([body.max, body.source], [max, "override"]);
}

/** True for the documented refusal; anything else is a fault. */
function refusedFor(error, limit) {
  assert.match(error.message, /429|connection_limit/, `refused with: ${error.message}`);
  return limit > 0;
}
