// Who is present in a group, as watchers, lists and counts tell it, with an edge
// that is killed in between.
import assert from "node:assert/strict";
import { test } from "node:test";

import { call, signUp } from "../account.mjs";
import { clientToken, connect, eventually, patience, within } from "../service.mjs";
import { stack } from "../stack.mjs";

const { api_url: api, edge_urls: edges, tenants: [demo] } = await stack();
const hub = "presence";
const group = "room";
const permissions = ["joinGroup", "leaveGroup", "readPresence"];

/** A client on one edge that is in the group. */
async function member(t, edge, user, transport = "WebSockets", protocol = "json") {
  const token = clientToken(demo, { hub, user, "sbx.permissions": permissions, "sbx.groups": group });
  const client = await connect(t, edge, demo, { hub, token, transport, protocol, targets: ["$presence"] });
  client.user = user;
  return client;
}

/** What a watcher knows from its snapshot and all changes. */
async function watch(client) {
  const known = new Map();
  const told = { joins: 0, leaves: 0, twice: [] };
  const { members } = await client.connection.invoke("$watchPresence", group);
  for (const m of members) known.set(m.connectionId, m.state);
  let applied = 0;
  return {
    told,
    members() {
      for (; applied < client.received.length; applied++) {
        const [{ joins = [], updates = [], leaves = [] }] = client.received[applied].args;
        for (const m of joins) {
          if (known.has(m.connectionId)) told.twice.push(m.connectionId);
          known.set(m.connectionId, m.state);
          told.joins++;
        }
        for (const m of updates) known.set(m.connectionId, m.state);
        for (const m of leaves) {
          if (!known.delete(m.connectionId)) told.twice.push(m.connectionId);
          told.leaves++;
        }
      }
      return known;
    },
  };
}

const count = async (edge) => {
  const response = await fetch(`${edge}/api/hubs/${hub}/groups/${group}/presence/:count`, { headers: { authorization: `Bearer ${demo.access_key}` } });
  return response.ok ? (await response.json()).count : undefined;
};

test("presence over three edges, one of which is killed", async (t) => {
  const kinds = [["WebSockets", "json"], ["WebSockets", "messagepack"], ["ServerSentEvents", "json"], ["LongPolling", "json"]];
  const watcher = await member(t, edges[1], "watcher");
  const early = await watch(watcher);
  const all = await Promise.all([0, 1, 2].flatMap((i) => kinds.map(([transport, protocol], k) => member(t, edges[i], `u${k}`, transport, protocol).then((c) => Object.assign(c, { edge: i })))));
  await Promise.all(all.map((c, i) => c.connection.invoke("$setPresence", group, { n: i })));
  await eventually(() => early.members().size === all.length, "the watcher to know all members");

  // A late watcher on another edge, over MessagePack, has the same.
  const other = await member(t, edges[2], "other", "WebSockets", "messagepack");
  const late = await watch(other);
  assert.deepEqual(new Map([...late.members()].sort()), new Map([...early.members()].sort()));
  await all[0].connection.invoke("$setPresence", group, { n: "changed" });
  await eventually(() => early.members().get(all[0].id)?.n === "changed" && late.members().get(all[0].id)?.n === "changed", "both to know of the change");
  const page = await all[1].connection.invoke("$readPresence", group);
  assert.equal(page.count, all.length);
  assert.deepEqual(page.members.find((m) => m.connectionId === all[0].id), { connectionId: all[0].id, userId: "u0", state: { n: "changed" } });
  assert.equal(await count(edges[0]), all.length);

  // An edge dies. Its members vanish everywhere, told of once; nobody else does.
  const { pids } = await stack();
  const killed = Date.now();
  process.kill(pids.edges[0], "SIGKILL");
  const left = all.filter((c) => c.edge !== 0);
  let counted;
  await Promise.all([
    eventually(() => early.members().size === left.length && late.members().size === left.length, "the members of the dead edge to vanish", 3 * patience).then(() => t.diagnostic(`pushed after ${Date.now() - killed} ms`)),
    eventually(async () => (counted = await count(edges[1])) === left.length, "the count to be right", 3 * patience).then(() => t.diagnostic(`counted after ${Date.now() - killed} ms`)),
  ]);
  for (const view of [early, late]) {
    assert.deepEqual([...view.members().keys()].sort(), left.map((c) => c.id).sort());
    assert.deepEqual(view.told.twice, []);
    assert.equal(view.told.leaves, all.length - left.length);
  }

  // Those who leave in order are told of, too.
  await left[0].connection.invoke("$clearPresence", group);
  await left[1].stop();
  await eventually(() => early.members().size === left.length - 2 && late.members().size === left.length - 2, "those who left to vanish");
  await eventually(async () => (await stack()).pids.edges[0] !== pids.edges[0], "the edge to be started again");
});

/** Fails with this code. */
const refused = (promise, code) => assert.rejects(within(promise, `a refusal with ${code}`), new RegExp(`HubException: ${code}[: ]`));

test("who would be one too many, or has too large a state, is refused", async (t) => {
  const { session, tenant } = await signUp(api);
  const limit = (name, max) => call(api, session, "PUT", `/v1/tenants/${tenant.slug}/limits/${name}`, { max });
  await limit("max_presence_members", 2);
  await limit("max_presence_state_bytes", 16);
  const token = (user) => clientToken(tenant, { hub: "chat", user, "sbx.permissions": permissions, "sbx.groups": group });
  const all = await Promise.all(
    [["json", 0], ["messagepack", 1], ["json", 1], ["messagepack", 2]].map(([protocol, i]) => connect(t, edges[i], tenant, { hub: "chat", token: token(protocol), protocol })),
  );
  // The limits are in force on every edge within a moment.
  await eventually(() => all[0].connection.invoke("$setPresence", group, "x".repeat(20)).then(() => false, (error) => error.message.includes("state_too_large")), "the limit of the state");
  for (const c of all.slice(0, 2)) await c.connection.invoke("$setPresence", group, 1);
  for (const c of all) await eventually(() => c.connection.invoke("$setPresence", group, "x".repeat(20)).then(() => false, (error) => error.message.includes("state_too_large")), "the limit on every edge");
  for (const c of all.slice(2)) await refused(c.connection.invoke("$setPresence", group, 1), "presence_full");
  await all[0].connection.invoke("$setPresence", group, 2); // who is present may change its state
  await all[1].connection.invoke("$clearPresence", group);
  await all[2].connection.invoke("$setPresence", group, 1);
  await refused(all[3].connection.invoke("$setPresence", group, 1), "presence_full");
  const { count: present } = await all[3].connection.invoke("$readPresence", group);
  assert.equal(present, 2);
});

test("while an edge can't answer, nobody is told a list without those on it", async (t) => {
  const { pids } = await stack();
  const there = await member(t, edges[2], "there");
  await there.connection.invoke("$setPresence", group);
  // Calls of one connection wait for each other: one each.
  const calls = ["json", "messagepack"].flatMap((protocol) => [["$readPresence", protocol], ["$watchPresence", protocol]]);
  const asking = await Promise.all(calls.map(([method, protocol]) => member(t, edges[1], `${method} ${protocol}`, "WebSockets", protocol).then((c) => Object.assign(c, { method }))));
  for (const { connection } of asking) assert.equal((await connection.invoke("$readPresence", group)).count, 1);
  process.kill(pids.edges[2], "SIGSTOP");
  try {
    // The signal takes a moment.
    const stopped = () => asking[0].connection.invoke("$readPresence", group).then(() => false, () => true);
    await eventually(stopped, "the edge to be stopped");
    await Promise.all(asking.map(({ connection, method }) => refused(connection.invoke(method, group), "presence_unavailable")));
  } finally {
    process.kill(pids.edges[2], "SIGCONT");
  }
  for (const { connection, method } of asking) {
    await eventually(() => connection.invoke(method, group).then(() => true, () => false), "the list to be there again");
  }
  await eventually(async () => (await fetch(`${edges[2]}/api/health`, { method: "HEAD" }).catch(() => ({}))).status === 200, "the edge to serve again");
});
