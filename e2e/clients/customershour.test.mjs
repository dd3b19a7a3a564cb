// A customer's hour, told from the command line alone: sign up, invite a colleague,
// two tenants, rotate a key under traffic, hit a limit, see why, raise it, download
// the ledger and add it up.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";

import { person } from "../cli.mjs";
import { eventually } from "../service.mjs";

const name = `hour-${randomBytes(4).toString("hex")}`;
const [ada, bob] = ["ada", "bob"].map((who) => `${who}-${name}@example.com`);

test("a customer's hour", async (t) => {
  const me = await person(t);
  const published = { chat: 0, other: 0 };
  let connection;

  await t.test("sign up: a tenant, a key, and a first message within a minute", async () => {
    const made = await me.json(["signup", "--email", ada, "--account-name", name, "--tenant-slug", name, "--password-stdin"], "correct horse battery\n");
    connection = made.key.connection_string;
    const listener = me.start("listen", "chat", "--count", "1");
    await eventually(() => listener.said.err.includes("connected to"), "the listener to connect");
    await me.ok(["publish", "chat", "hello", "world"]);
    published.chat++;
    const { status, out } = await listener.ended;
    assert.equal(status, 0);
    assert.match(out, /hello {2}"world"/);
  });

  await t.test("invite a colleague, who joins and sees both tenants", async () => {
    const link = async (to) => {
      await eventually(async () => (await me.ok(["mailbox", "--to", to, "-q"])) !== "", "the mail");
      return (await me.ok(["mailbox", "--to", to, "-q"])).split("\n")[0];
    };
    await me.ok(["user", "verify-email", await link(ada)]);
    await me.ok(["invitations", "create", bob, "--role", "developer"]);
    await me.ok(["tenants", "create", "Staging", "--slug", `${name}-staging`]);
    const colleague = await person(t);
    const invitation = await link(bob);
    assert.equal((await colleague.json(["invitations", "look-up", invitation])).role, "developer");
    await colleague.ok(["invitations", "accept", "--new", "--password-stdin", invitation], "another horse battery\n");
    assert.deepEqual((await colleague.ok(["tenants", "list", "-q"])).split("\n").sort(), [name, `${name}-staging`].sort());
    await colleague.ok(["publish", "other", "hello", "from bob", "--tenant", `${name}-staging`]);
    published.other++;
    // A developer may not invite; the refusal says so.
    const refused = await colleague.run(["invitations", "create", "eve@example.com"]);
    assert.equal(refused.status, 3);
    assert.deepEqual((await me.json(["members", "list"])).map(({ role }) => role).sort(), ["developer", "owner"]);
  });

  await t.test("rotate the key under traffic: nothing fails, and then the former key is of no use", async () => {
    const backend = async (key) => {
      const machine = await person(t, { SIGNALBOX_CONNECTION_STRING: key });
      const process = machine.start("publish", "chat", "tick", "--lines", "--wait", "-q");
      const sent = { lines: 0 };
      const timer = setInterval(() => sent.lines++ < 500 && process.child.stdin.write(`${sent.lines}\n`), 30);
      const stop = async () => {
        clearInterval(timer);
        process.child.stdin.end();
        const { status, err } = await process.ended;
        assert.equal(status, 0, err);
        published.chat += process.lines.length;
        assert.ok(process.lines.length > 0);
      };
      return { process, stop };
    };
    const before = await backend(connection);
    await eventually(() => before.process.lines.length >= 5, "traffic with the first key");
    const fresh = await me.json(["keys", "rotate", "primary", "--overlap", "1h"]);
    const seen = before.process.lines.length;
    const after = await backend(fresh.connection_string);
    await eventually(() => before.process.lines.length >= seen + 5 && after.process.lines.length >= 5, "traffic with both keys");
    await before.stop();
    const former = (await me.json(["keys", "list"])).filter(({ slot }) => slot === "primary");
    assert.equal(former.length, 2);
    assert.ok(former[1].expires_at);
    await me.ok(["keys", "end-overlap", "primary", "--yes"]);
    const old = await person(t, { SIGNALBOX_CONNECTION_STRING: connection });
    await eventually(async () => {
      const { status, err } = await old.run(["publish", "chat", "late", "1"]);
      if (status === 0) published.chat++; // an edge that hasn't heard of it yet
      else assert.equal(status, 4, err);
      return status !== 0;
    }, "the former key to be refused");
    await after.stop();
    connection = fresh.connection_string;
  });

  await t.test("hit a limit, see why, raise it", async () => {
    await me.ok(["limits", "set", "messages_per_second", "5"]);
    await me.ok(["limits", "set", "message_burst", "5"]);
    const input = Array.from({ length: 40 }, (_, i) => `${i}\n`).join("");
    // In force within a second; until then some more are taken.
    let refused;
    await eventually(async () => {
      refused = await me.run(["publish", "chat", "burst", "--lines", "--text", "-q"], input);
      published.chat += refused.out.trim().split("\n").filter(Boolean).length;
      return refused.status !== 0;
    }, "the limit to be hit");
    assert.equal(refused.status, 3);
    assert.match(refused.err, /limit messages_per_second: 5, at once 5/);
    assert.match(refused.err, /signalbox limits show messages_per_second/);
    assert.match(refused.err, /docs\/errors\/rate_limited/);
    let limit;
    await eventually(async () => {
      limit = await me.json(["limits", "show", "messages_per_second"]);
      return limit.refused > 0;
    }, "the refusal to be counted");
    assert.deepEqual([limit.max, limit.source, limit.plan_max], [5, "override", 100]);
    assert.ok(limit.last_hit_at);
    assert.ok((await me.ok(["limits", "list", "--hit", "-q"])).split("\n").includes("messages_per_second"));

    await me.ok(["limits", "set", "messages_per_second", "200", "--until", "24h"]);
    await me.ok(["limits", "set", "message_burst", "600", "--until", "24h"]);
    await eventually(async () => {
      const { status, out } = await me.run(["publish", "chat", "burst", "--lines", "--text", "-q"], input);
      published.chat += out.trim().split("\n").filter(Boolean).length;
      return status === 0;
    }, "the raised limit to be in force");
  });

  await t.test("download the ledger and add it up: what was published, to the message", async () => {
    let ledger;
    const accepted = (rows, hub) => rows.filter((row) => row.hub === hub).reduce((sum, { amounts }) => sum + amounts.messages_accepted, 0);
    await eventually(async () => {
      ledger = await me.json(["usage", "ledger", "--whole-account"]);
      return accepted(ledger.entries, "chat") >= published.chat && accepted(ledger.entries, "other") >= published.other;
    }, "the ledger to have it all", 60_000);
    assert.deepEqual({ chat: accepted(ledger.entries, "chat"), other: accepted(ledger.entries, "other") }, published);
    assert.equal(ledger.totals.messages_accepted, published.chat + published.other);

    const [head, ...rows] = (await me.ok(["usage", "ledger", "--whole-account", "--format", "csv"])).split("\n");
    const column = head.split(",").indexOf("messages_accepted");
    assert.ok(column >= 0, head);
    const sum = rows.filter((row) => /^\d/.test(row)).reduce((total, row) => total + Number(row.split(",")[column]), 0);
    assert.equal(sum, published.chat + published.other);

    await eventually(async () => {
      const { totals } = await me.json(["usage", "show", "--tenant", name]);
      assert.equal(totals.messages_accepted, published.chat);
      return totals.refused.rate_limited > 0;
    }, "the refusals to be shown");
    assert.equal((await me.json(["audit", "verify"])).intact, true);
    await me.ok(["logout"]);
    t.diagnostic(`${published.chat + published.other} messages published, as many in the ledger`);
  });
});
