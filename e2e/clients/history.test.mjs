// Settings of a hub's history, made with the control plane's API, and what edges keep
// by them: nothing is restarted, and the tenant sees what it takes.
import assert from "node:assert/strict";
import { test } from "node:test";

import { call } from "../account.mjs";
import { at, clientToken, connect, eventually, publish } from "../service.mjs";
import { stack } from "../stack.mjs";

const { api_url: api, api_token: apiToken, edge_urls: edges, service_url: front, tenants: [demo] } = await stack();
const bearer = { authorization: `Bearer ${apiToken}` };

/** A page of what the hub keeps. */
async function messages(hub, query) {
  const response = await fetch(`${at(front, demo).base}/api/hubs/${hub}/messages?${query}`, { headers: { authorization: `Bearer ${demo.access_key}` } });
  return { status: response.status, ...(await response.json()) };
}

/** Everything that the hub keeps after a position. */
async function kept(hub, from) {
  const all = [];
  for (let page = await messages(hub, `limit=1000${from}`); ; page = await messages(hub, `limit=1000&after=${page.position}`)) {
    assert.equal(page.status, 200, JSON.stringify(page));
    all.push(...page.messages.map(({ arguments: [n] }) => n));
    if (!page.more) return all;
  }
}

/** What the tenant's hubs keep, as its limits show. */
async function bytes() {
  const { body } = await call(api, bearer, "GET", "/v1/tenants/demo/limits");
  return body.limits.find(({ limit }) => limit === "history_bytes").used ?? 0;
}

/** Changes the hub's history; the first time it makes the hub's settings. */
async function settings(hub, history, want = 200) {
  const { body } = await call(api, bearer, "PUT", `/v1/tenants/demo/hubs/${hub}`, { handler: "broadcast", history }, want);
  assert.deepEqual(body.history, { seconds: 0, messages: 0, bytes: 0, group_index: false, ...history });
}

test("D6 a smaller history trims what is kept, says what is gone, and takes less of the tenant's bytes", async (t) => {
  const hub = "history-settings";
  const size = 2000;
  const total = 400;
  await settings(hub, { messages: 1000, group_index: true }, 201);
  t.after(() => call(api, bearer, "DELETE", `/v1/tenants/demo/hubs/${hub}`, undefined, 204));
  const group = (n) => (n % 40 === 0 ? "quiet" : "busy");
  const send = (n) => publish(edges[n % edges.length], demo, `/hubs/${hub}/groups/${group(n)}`, "m", n, "x".repeat(size));
  const before = await bytes();
  await send(0);
  const first = (await messages(hub, "limit=1")).messages[0].position;
  for (let n = 1; n < total; n++) await send(n);
  assert.deepEqual(await kept(hub, ""), Array.from({ length: total }, (_, n) => n));
  // Sizes are measured now and then, by who publishes.
  const large = before + (total / 2) * size;
  let more = total;
  await eventually(async () => (await send(more++), (await bytes()) > large), "the tenant's bytes to be told");

  // The group's own history, by its index, and as the official client reads it.
  const client = await connect(t, edges[1], demo, { hub, token: clientToken(demo, { hub, user: "ann", "sbx.permissions": ["readHistory"] }) });
  const quiet = [];
  await new Promise((complete, error) => client.connection.stream("$history", { group: "quiet", last: 5 }).subscribe({ next: (m) => quiet.push(m.arguments[0]), complete, error }));
  const all = Array.from({ length: more }, (_, n) => n).filter((n) => group(n) === "quiet");
  assert.deepEqual(quiet, all.slice(-5));

  // Fewer messages, and no index: with the next ones the rest goes.
  await settings(hub, { messages: 100 });
  await eventually(async () => {
    await send(more++);
    const gone = await messages(hub, `limit=1&after=${first}`);
    return gone.status === 410 && (await kept(hub, `&after=${gone.to}`)).length <= 250;
  }, "what is kept to be trimmed");
  const gone = await messages(hub, `limit=1&after=${first}`);
  assert.deepEqual([gone.status, gone.code, gone.from], [410, "history_gone", first]);
  const left = await kept(hub, `&after=${gone.to}`);
  assert.deepEqual(left, Array.from({ length: left.length }, (_, i) => more - left.length + i), "what is left is the newest, without a hole");
  await eventually(async () => (await send(more++), (await bytes()) < large), "the tenant to have its bytes back");

  // Bytes are a bound of their own.
  await settings(hub, { bytes: 65_536 });
  await eventually(async () => {
    await send(more++);
    const { status, to } = await messages(hub, `limit=1&after=${first}`);
    return status === 410 && (await kept(hub, `&after=${to}`)).length * size <= 4 * 65_536;
  }, "the bound of bytes to hold");
});
