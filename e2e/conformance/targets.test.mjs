// Pushes, groups, users, life cycle and who the hub thinks it talks to, over
// every transport and protocol.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { matrix } from "../service.mjs";
import { behind, build, connect, failure, hidden, inbox, lacks, startHub, unique } from "./hub.mjs";

const url = await startHub();

/** Connects n clients with an inbox each, in a group of their own. */
async function crowd(t, n, how, query = () => "") {
  const team = unique("team");
  const all = [];
  for (let i = 0; i < n; i++) {
    const c = await connect(t, `${url}/hub${query(i)}`, how);
    await c.invoke("Join", team);
    all.push({ c, id: c.connectionId, news: inbox(c, "news"), send: (kind, names, value) => c.invoke("Send", kind, names, "news", value) });
  }
  return { team, all };
}

/** Everybody has exactly these once the last message has come round. */
async function received(all, team, ...expected) {
  await all[0].send("group", [team], "last");
  for (const [i, { news }] of all.entries()) {
    const wanted = expected[i] ?? [];
    assert.deepEqual(await news.of(wanted.length + 1), [...wanted, "last"], `client ${i}`);
    news.received.length = 0;
  }
}

for (const [transport, protocol] of matrix) {
  const how = { transport, protocol };

  describe(`${transport}, ${protocol}`, () => {
    test("P-01 P-02 P-03 pushes carry values unchanged; clients compare names without regard to case", async (t) => {
      const { all: [one] } = await crowd(t, 1, how);
      const value = { nested: { list: [1, "two", null, { three: 3.5 }] }, "æøå": "漢字" };
      await one.send("caller", [], value);
      assert.deepEqual(await one.news.of(1), [value]);
      await one.c.invoke("Send", "caller", [], "NEWS", "loud");
      assert.deepEqual(await one.news.of(2), [value, "loud"]);
    });

    test("P-04 all, others, caller and all but some", async (t) => {
      const { team, all } = await crowd(t, 3, how);
      const [one, , three] = all;
      await one.send("all", [], "all");
      await received(all, team, ["all"], ["all"], ["all"]);
      await one.send("others", [], "others");
      await received(all, team, [], ["others"], ["others"]);
      await one.send("caller", [], "caller");
      await received(all, team, ["caller"]);
      await one.send("allExcept", [one.id, three.id], "except");
      await received(all, team, [], ["except"]);
    });

    test("P-05 P-06 connections and users; who isn't there is no error", async (t) => {
      const [alice, bob] = [unique("alice"), unique("bob")];
      const { team, all } = await crowd(t, 3, how, (i) => `?user=${i < 2 ? alice : bob}`);
      const [one, two, three] = all;
      await one.send("client", [two.id], "client");
      await one.send("client", ["nobody"], "client");
      await one.send("clients", [one.id, three.id, "nobody"], "clients");
      await received(all, team, ["clients"], ["client"], ["clients"]);
      await one.send("user", [alice], "user");
      await one.send("users", [alice, bob, "nobody"], "users");
      await received(all, team, ["user", "users"], ["user", "users"], ["users"]);
    });

    test("G-01 G-02 G-03 G-05 groups: join twice, leave, exact names", async (t) => {
      const { team, all } = await crowd(t, 2, how);
      const [one, two] = all;
      const group = unique("Group");
      await one.c.invoke("Join", group);
      await one.c.invoke("Join", group);
      await two.c.invoke("Join", group.toLowerCase());
      await two.c.invoke("Leave", group); // is not in it
      await two.send("group", [group], "members");
      await received(all, team, ["members"]);
      await one.c.invoke("Leave", group);
      await two.send("group", [group], "nobody");
      await received(all, team);
    });

    test("G-04 several groups, groups with exceptions", async (t) => {
      const { team, all } = await crowd(t, 3, how);
      const [one, two] = all;
      const group = unique("group");
      await one.c.invoke("Join", group);
      await two.c.invoke("Join", group);
      await one.send("othersInGroup", [group], "others");
      await one.send("groupExcept", [group, two.id], "except");
      await one.send("groups", [group, team], "once");
      await received(all, team, ["except", "once"], ["others", "once"], ["once"]);
    });

    test("G-06 L-01 L-02 L-05 a client that starts again has a new id, its handlers and no groups", async (t) => {
      const connection = build(`${url}/hub`, how);
      const news = inbox(connection, "news");
      const closed = new Promise((done) => connection.onclose((error) => done({ error })));
      assert.equal(connection.connectionId, null);
      await connection.start();
      t.after(() => connection.stop());
      const id = connection.connectionId;
      assert.equal((await connection.invoke("WhoAmI")).id, id);
      const group = unique("group");
      await connection.invoke("Join", group);
      await connection.stop();
      assert.deepEqual(await closed, { error: undefined });
      assert.equal(connection.connectionId, null);
      await connection.start();
      assert.notEqual(connection.connectionId, id);
      await connection.invoke("Send", "group", [group], "news", "group");
      await connection.invoke("Send", "caller", [], "news", "caller");
      assert.deepEqual(await news.of(1), ["caller"]);
    });

    test("L-03 E-10 a Close that allows it makes a client with automatic reconnect come back, and no other", { skip: lacks.reconnectClose }, async (t) => {
      const plain = await connect(t, `${url}/hub`, how);
      const closed = new Promise((done) => plain.onclose(done));
      await failure(plain.invoke("Close", "come back", true));
      await closed;
      const c = await connect(t, `${url}/hub`, { ...how, reconnect: [0, 0, 100] });
      const id = c.connectionId;
      const back = new Promise((done) => c.onreconnected(done));
      const away = new Promise((done) => c.onreconnecting(done));
      await failure(c.invoke("Close", "come back", true));
      await away;
      assert.equal(await back, c.connectionId);
      assert.notEqual(c.connectionId, id);
      assert.equal(await c.invoke("Add", 1, 1), 2);
    });

    test("E-08 E-09 a Close with a reason ends a client for good, one without is no error", async (t) => {
      for (const [reason, pattern] of [["enough", /^Server returned an error on close: enough$/], ["", undefined]]) {
        const c = await connect(t, `${url}/hub`, { ...how, reconnect: [0] });
        const closed = new Promise((done) => c.onclose((error) => done({ error })));
        await c.send("Close", reason, false);
        const { error } = await closed;
        if (pattern) assert.match(error.message, pattern);
        else assert.equal(error, undefined);
      }
    });

    test("L-06 L-07 the hub sees transport, protocol and query", async (t) => {
      const c = await connect(t, `${url}/hub?colour=green&colour=blue`, how);
      const me = await c.invoke("WhoAmI");
      assert.deepEqual([me.protocol, me.query.colour], [lacks.binary ? "json" : protocol, ["green", "blue"]]);
      if (!behind) assert.equal(me.transport, transport); // the service keeps it from app servers
    });

    test("A-04 A-05 A-08 a token from a factory is taken on every request, and names the user", async (t) => {
      const c = await connect(t, `${url}/secure`, { ...how, options: { accessTokenFactory: async () => "carol" } });
      const me = await c.invoke("WhoAmI");
      assert.equal(me.user, "carol");
      assert.ok(!JSON.stringify([me.query, me.headers]).includes("carol"), "no credentials among what the hub sees");
    });

    test("T-37 T-38 T-39 user agent, headers of the user and cookies reach the hub", { skip: lacks.headers }, async (t) => {
      const read = async (options) => (await (await connect(t, `${url}/hub`, { ...how, options })).invoke("WhoAmI")).headers;
      const plain = await read({});
      assert.match(plain["User-Agent"][0], /^Microsoft SignalR\/10\.0 \(10\.0\.11; /);
      if (!behind) { // cookies are the app's; the connection is the service's
        assert.match(plain.Cookie.join(), /^kept=yes/);
        assert.ok(!plain.Cookie.join().includes("old="), "a cookie that has expired came back");
      }
      const own = await read({ headers: { "User-Agent": "mine/1", "X-Custom": "yes" } });
      assert.deepEqual([own["User-Agent"], own["X-Custom"]], [["mine/1"], ["yes"]]);
    });
  });
}

test("P-07 M-11 clients of both protocols hear the same, bytes as base64 in JSON", { skip: lacks.binary }, async (t) => {
  const [json, binary] = [await connect(t, `${url}/hub`), await connect(t, `${url}/hub`, { protocol: "messagepack" })];
  const [text, bytes] = [inbox(json, "news"), inbox(binary, "news")];
  const user = unique("both");
  await binary.invoke("Join", user);
  await json.invoke("Join", user);
  await binary.invoke("Send", "group", [user], "news", { data: Uint8Array.from([1, 2, 255]), deep: [1, { a: null }] });
  assert.deepEqual(await text.of(1), [{ data: "AQL/", deep: [1, { a: null }] }]);
  assert.deepEqual((await bytes.of(1)).map(({ data, deep }) => [[...data], deep]), [[[1, 2, 255], [1, { a: null }]]]);
  await json.invoke("Send", "group", [user], "news", { deep: [1.5, "ö", true] });
  assert.deepEqual((await bytes.of(2))[1], { deep: [1.5, "ö", true] });
});

test("G-07 a group without a name is an error of the method that names it", async (t) => {
  const c = await connect(t, `${url}/hub`);
  for (const method of ["Join", "Leave"]) assert.match(await failure(c.invoke(method, "")), new RegExp(`${hidden(method)}$`));
  assert.match(await failure(c.invoke("Send", "group", [""], "news", 1)), new RegExp(`${hidden("Send")}$`));
  assert.equal(await c.invoke("Add", 1, 1), 2);
});

const direct = { skip: behind !== "" && "the app's own URL has no hub but redirects, so negotiation can't be skipped there" };
test("L-04 T-10 a client that skips negotiation works without an id", direct, async (t) => {
  const c = await connect(t, `${url}/hub`, { transport: "WebSockets", options: { skipNegotiation: true }, reconnect: [0, 100] });
  assert.equal(c.connectionId, null);
  assert.ok((await c.invoke("WhoAmI")).id);
  const back = new Promise((done) => c.onreconnected((id) => done({ id })));
  await failure(c.invoke("Close", "", true));
  assert.deepEqual(await back, { id: undefined });
  assert.equal(await c.invoke("Add", 1, 1), 2);
});

test("T-40 twenty clients at once are all served, each with an id of its own", async (t) => {
  const all = await Promise.all(Array.from({ length: 20 }, (_, i) => {
    const [transport, protocol] = matrix[i % matrix.length];
    return connect(t, `${url}/hub`, { transport, protocol });
  }));
  const seen = await Promise.all(all.map(async (c) => (await c.invoke("WhoAmI")).id));
  assert.deepEqual(seen, all.map(({ connectionId }) => connectionId));
  assert.equal(new Set(seen).size, 20);
});
