// Two edges that do without Redis' Pub/Sub: everything that goes from one to the
// other goes through streams. All tests run so with SIGNALBOX_STREAMS_ONLY=true.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";

import { clientToken, connect, eventually, publish, rest } from "../service.mjs";
import { startStack } from "../stack.mjs";

const own = await startStack({ edges: 2, env: { SIGNALBOX_STREAMS_ONLY: "true" } });
after(() => own.stop());
const { edge_urls: [one, two], tenants: [demo] } = JSON.parse(await readFile(own.file, "utf8"));
const hub = "streams";

/** A client on the first edge; what is asked of it is asked at the second. */
async function client(t, protocol, user, claims = {}) {
  const token = clientToken(demo, { hub, user, "sbx.permissions": ["joinGroup", "readPresence"], ...claims });
  return connect(t, one, demo, { hub, token, protocol, targets: ["message", "$presence"] });
}

test("the edges say that they do without", async () => {
  for (const name of ["edge-1.log", "edge-2.log"]) {
    assert.match(await readFile(join(own.logs, name), "utf8"), /streams_only\W+true/, name);
  }
});

test("messages to all, groups, users and one arrive in order", async (t) => {
  const clients = [await client(t, "json", "ann"), await client(t, "messagepack", "ben")];
  for (const c of clients) {
    const joined = await rest(two, demo, "PUT", `/hubs/${hub}/groups/room/connections/${c.id}`);
    assert.equal(joined.status, 200, await joined.text());
  }
  for (let n = 0; n < 40; n += 4) {
    await publish(two, demo, `/hubs/${hub}`, "message", n);
    await publish(two, demo, `/hubs/${hub}/groups/room`, "message", n + 1);
    await publish(two, demo, `/hubs/${hub}/users/ann`, "message", n + 2);
    await publish(two, demo, `/hubs/${hub}/connections/${clients[0].id}`, "message", n + 3);
  }
  await publish(two, demo, `/hubs/${hub}`, "message", 40);
  for (const c of clients) await c.message(({ args }) => args[0] === 40, "the last message");
  const numbers = clients.map((c) => c.received.map(({ args }) => args[0]));
  assert.deepEqual(numbers[0], Array.from({ length: 41 }, (_, n) => n));
  assert.deepEqual(numbers[1], numbers[0].filter((n) => n % 4 < 2));
});

test("clients answer, and what exists is found", async (t) => {
  const c = await client(t, "json", "cleo");
  c.connection.on("add", (a, b) => a + b);
  const answer = await fetch(`${two}/api/hubs/${hub}/connections/${c.id}/:invoke`, {
    method: "POST", headers: { authorization: `Bearer ${demo.access_key}`, "content-type": "application/json" }, body: JSON.stringify({ target: "add", arguments: [1, 2] }),
  });
  assert.deepEqual([answer.status, await answer.json()], [200, { result: 3 }]);
  assert.equal((await rest(two, demo, "HEAD", `/hubs/${hub}/users/cleo`)).status, 200);
  assert.equal((await rest(two, demo, "HEAD", `/hubs/${hub}/users/nobody`)).status, 404);
  await c.stop();
  await eventually(async () => (await rest(two, demo, "HEAD", `/hubs/${hub}/users/cleo`)).status === 404, "the user to be gone");
});

test("presence is told, and ends with its connection", async (t) => {
  const watcher = await connect(t, two, demo, {
    hub, token: clientToken(demo, { hub, user: "watcher", "sbx.permissions": ["joinGroup", "readPresence"], "sbx.groups": "lobby" }), targets: ["$presence"],
  });
  assert.deepEqual((await watcher.connection.invoke("$watchPresence", "lobby")).members, []);
  const member = await client(t, "messagepack", "dora", { "sbx.groups": "lobby" });
  await member.connection.invoke("$setPresence", "lobby", { mood: "fine" });
  const { args: [{ joins }] } = await watcher.message(({ args }) => args[0].joins?.length === 1, "the member");
  assert.deepEqual(joins.map(({ userId, state }) => [userId, state]), [["dora", { mood: "fine" }]]);
  const { id } = member;
  await member.stop();
  await watcher.message(({ args }) => args[0].leaves?.some((m) => m.connectionId === id), "the member's end");
});
