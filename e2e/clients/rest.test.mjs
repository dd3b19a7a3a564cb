// Groups, users and connections over REST, seen by official clients that hang on
// different edges.
import assert from "node:assert/strict";
import { test } from "node:test";

import { at, connect, eventually, matrix, publish, rest, within } from "../service.mjs";
import { stack } from "../stack.mjs";

const { edge_urls: edges, tenants: [demo] } = await stack();
const hub = `/hubs/${demo.hub}`;

/** The status of a request that has no body. */
const status = async (place, method, path) => (await rest(place, demo, method, path)).status;

/** Requests in the newer form of the API; the answer's body is read. */
async function current(place, method, path, body) {
  const response = await fetch(path.startsWith("http") ? path : `${at(place, demo).base}/api${hub}${path}`, {
    method,
    headers: { authorization: `Bearer ${demo.access_key}`, ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text && JSON.parse(text) };
}

/** Publishes a marker to all and returns what the clients received before it. */
async function before(clients, marker) {
  await publish(edges[0], demo, hub, "message", marker);
  return Promise.all(
    clients.map(async (client) => {
      await client.message(({ args: [text] }) => text === marker, marker);
      const texts = client.received.map(({ args: [text] }) => text);
      return texts.slice(0, texts.indexOf(marker));
    }),
  );
}

test("a group reaches its members on every edge, and nobody else", async (t) => {
  const clients = await Promise.all([connect(t, edges[0], demo), connect(t, edges[1], demo), connect(t, edges[1], demo)]);
  const [first, second] = clients;
  for (const [i, client] of [first, second].entries()) {
    assert.equal(await status(edges[1 - i], "PUT", `${hub}/groups/g1/connections/${client.id}`), 200);
  }
  assert.equal(await status(edges[0], "HEAD", `${hub}/groups/g1`), 200);
  await publish(edges[0], demo, `${hub}/groups/g1`, "message", "members");
  await publish(edges[1], demo, `${hub}/groups/g1?excluded=${first.id}`, "message", "all but the first");
  assert.equal(await status(edges[0], "DELETE", `${hub}/groups/g1/connections/${second.id}`), 200);
  await publish(edges[0], demo, `${hub}/groups/g1`, "message", "the first only");
  assert.deepEqual(await before(clients, "end of groups"), [
    ["members", "the first only"],
    ["members", "all but the first"],
    [],
  ]);
  assert.equal(await status(edges[1], "HEAD", `${hub}/groups/nobody`), 404);
});

test("a broadcast leaves out the excluded connections", async (t) => {
  const clients = await Promise.all([connect(t, edges[0], demo), connect(t, edges[1], demo)]);
  await publish(edges[0], demo, `${hub}?excluded=${clients[0].id}`, "message", "not the first");
  await publish(edges[0], demo, `${hub}?excluded=${clients[0].id}&excluded=${clients[1].id}`, "message", "neither");
  assert.deepEqual(await before(clients, "end of exclusions"), [[], ["not the first"]]);
});

test("a user has any number of connections, and groups that later ones join", async (t) => {
  const [one, two] = await Promise.all([connect(t, edges[0], demo, { user: "ann" }), connect(t, edges[1], demo, { user: "ann" })]);
  const other = await connect(t, edges[0], demo, { user: "Ann" });
  assert.equal(await status(edges[1], "HEAD", `${hub}/users/ann`), 200);
  assert.equal(await status(edges[1], "HEAD", `${hub}/users/nobody`), 404);
  await publish(edges[0], demo, `${hub}/users/ann`, "message", "for ann");

  assert.equal(await status(edges[0], "PUT", `${hub}/groups/g2/users/ann?ttl=60`), 202);
  await eventually(async () => (await status(edges[1], "HEAD", `${hub}/groups/g2/users/ann`)) === 200, "ann to be in the group");
  const late = await connect(t, edges[1], demo, { user: "ann" });
  await publish(edges[1], demo, `${hub}/groups/g2`, "message", "for ann's group");
  assert.deepEqual(await before([one, two, other, late], "end of users"), [
    ["for ann", "for ann's group"],
    ["for ann", "for ann's group"],
    [],
    ["for ann's group"],
  ]);

  assert.equal(await status(edges[0], "DELETE", `${hub}/groups/g2/users/ann`), 202);
  await eventually(async () => (await status(edges[1], "HEAD", `${hub}/groups/g2/users/ann`)) === 404, "ann to have left the group");
  await publish(edges[1], demo, `${hub}/groups/g2`, "message", "for nobody");
  const [seen] = await before([one], "end of the group");
  assert.ok(!seen.includes("for nobody"));
});

test("a connection can be looked for and closed through any edge", async (t) => {
  const client = await connect(t, edges[0], demo);
  assert.equal(await status(edges[1], "HEAD", `${hub}/connections/${client.id}`), 200);
  const closed = new Promise((done) => client.connection.onclose(done));
  const { id } = client;
  assert.equal(await status(edges[1], "DELETE", `${hub}/connections/${id}?reason=maintenance`), 202);
  const error = await within(closed, "the close");
  assert.match(String(error?.message), /maintenance/);
  await eventually(async () => (await status(edges[1], "HEAD", `${hub}/connections/${id}`)) === 404, "the connection to be gone");
});

test("bad requests are refused with the rule, and send nothing", async (t) => {
  const client = await connect(t, edges[0], demo);
  const post = (path, body, type = "application/json") =>
    fetch(`${edges[1]}/api/v1${path}`, { method: "POST", headers: { authorization: `Bearer ${demo.access_key}`, "content-type": type }, body });
  const cases = [
    ["no JSON", hub, "{", 400],
    ["no target", hub, `{"arguments":[]}`, 400],
    ["target of a wrong type", hub, `{"target":1,"arguments":[]}`, 400],
    ["arguments of a wrong type", hub, `{"target":"message","arguments":"x"}`, 400],
    ["hub name with a slash's escape", "/hubs/a%2Fb", `{"target":"message","arguments":[]}`, 400],
    ["unknown content type", hub, "message", 415, "text/plain"],
    ["too large", hub, JSON.stringify({ target: "message", arguments: ["x".repeat(2 << 20)] }), 413],
  ];
  for (const [name, path, body, want, type] of cases) {
    const response = await post(path, body, type);
    const text = await response.text();
    assert.equal(response.status, want, `${name}: ${text}`);
    assert.doesNotMatch(text, /goroutine|\.go:|redis|postgres/i, name);
  }
  assert.deepEqual(await before([client], "end of bad requests"), [[]]);
});

for (const [transport, protocol] of matrix) {
  test(`a client answers an invocation over ${transport} with ${protocol}`, async (t) => {
    const client = await connect(t, edges[0], demo, { transport, protocol });
    client.connection.on("add", (a, b) => a + b);
    client.connection.on("later", () => new Promise((done) => setTimeout(() => done({ text: "ü", list: [1, null] }), 20)));
    client.connection.on("fail", () => {
      throw new Error("not today");
    });
    client.connection.on("never", () => new Promise(() => {}));
    const invoke = (target, args = [], query = "") =>
      current(edges[1], "POST", `/connections/${client.id}/:invoke${query}`, { target, arguments: args });
    const sum = await invoke("add", [1, 2]);
    assert.equal(sum.status, 200);
    assert.deepEqual(sum.body, { result: 3 });
    assert.match(sum.headers.get("ratelimit"), /^"messages_per_second";r=\d+;t=\d+, "requests_per_second";r=\d+;t=\d+$/);
    assert.deepEqual((await invoke("later")).body, { result: { text: "ü", list: [1, null] } });
    const failed = await invoke("fail");
    assert.equal(failed.status, 400);
    assert.equal(failed.body.code, "client_error");
    assert.match(failed.body.message, /not today/);
    const late = await invoke("never", [], "?timeout=1");
    assert.equal(late.status, 504);
    assert.equal(late.body.code, "answer_timeout");
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => invoke("add", [i, i])));
    assert.deepEqual(answers.map(({ body }) => body.result), Array.from({ length: 20 }, (_, i) => 2 * i));
    const { id } = client;
    await client.stop();
    await eventually(async () => (await current(edges[1], "POST", `/connections/${id}/:invoke`, { target: "add" })).status === 404, "the client to be gone");
  });
}

test("connections, users and groups are listed and counted over all edges", async (t) => {
  const clients = await Promise.all(
    Array.from({ length: 7 }, (_, i) => connect(t, edges[i % edges.length], demo, { user: `lister ${i % 3}` })),
  );
  for (const [i, client] of clients.entries()) {
    assert.equal((await current(edges[i % edges.length], "PUT", `/groups/listed/connections/${client.id}`)).status, 200);
  }
  const ids = clients.map(({ id }) => id).sort();
  for (const place of edges) {
    const found = [];
    let next = "/groups/listed/connections?maxpagesize=3";
    let pages = 0;
    while (next) {
      const { status: code, body } = await current(place, "GET", next);
      assert.equal(code, 200);
      assert.ok(body.value.length <= 3);
      found.push(...body.value);
      next = body.nextLink;
      pages++;
    }
    assert.equal(pages, 3);
    assert.deepEqual(found.map(({ connectionId }) => connectionId), ids);
    assert.deepEqual(new Set(found.map(({ userId }) => userId)), new Set(["lister 0", "lister 1", "lister 2"]));
    assert.deepEqual((await current(place, "GET", "/groups/listed/users")).body.value, [
      { userId: "lister 0", connections: 3 },
      { userId: "lister 1", connections: 2 },
      { userId: "lister 2", connections: 2 },
    ]);
    assert.deepEqual((await current(place, "GET", "/users/lister%200/groups")).body, { value: [{ group: "listed", connections: 3 }] });
    assert.deepEqual((await current(place, "GET", "/groups/listed/connections/:count")).body, { count: 7 });
    assert.deepEqual((await current(place, "GET", "/groups/listed/users/:count")).body, { count: 3 });
  }
});

test("a batch reaches clients in its order, and tells of each message", async (t) => {
  const clients = await Promise.all([connect(t, edges[0], demo), connect(t, edges[1], demo)]);
  const messages = Array.from({ length: 50 }, (_, i) => ({ connections: clients.map(({ id }) => id), target: "message", arguments: [`batch ${i}`] }));
  messages.splice(10, 0, { connections: [], target: "message" });
  const { status: code, body } = await current(edges[1], "POST", "/:batch", { messages });
  assert.equal(code, 207);
  assert.equal(body.accepted, 50);
  assert.equal(body.results[10].status, 400);
  assert.equal(new Set(body.results.map(({ position }) => position)).size, 51);
  const want = Array.from({ length: 50 }, (_, i) => `batch ${i}`);
  assert.deepEqual(await before(clients, "end of the batch"), [want, want]);
});

test("a token of the API connects a client", async (t) => {
  const { status: code, body } = await current(edges[0], "POST", "/:generateToken?userId=tokened&minutesToExpire=5");
  assert.equal(code, 200);
  await connect(t, edges[1], demo, { token: body.token });
  assert.equal(await status(edges[0], "HEAD", `${hub}/users/tokened`), 200);
});
