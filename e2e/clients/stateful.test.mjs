// Stateful reconnect of the official client, with its socket cut on the way: what
// is sent meanwhile arrives once and in order, and the program notices nothing.
import assert from "node:assert/strict";
import { connect as dial, createServer } from "node:net";
import { test } from "node:test";

import { HttpTransportType, HubConnectionBuilder, HubConnectionState, JsonHubProtocol, LogLevel } from "@microsoft/signalr";
import { MessagePackHubProtocol } from "@microsoft/signalr-protocol-msgpack";

import { at, Client, clientToken, eventually, publish, rest, within } from "../service.mjs";
import { stack } from "../stack.mjs";

const { service_url: front, edge_urls: edges, tenants: [demo] } = await stack();

/** A proxy in front of some places, taken in turn; cut() drops every socket through it. */
async function proxy(t, places) {
  const pairs = new Set();
  let turn = 0;
  const server = createServer((inner) => {
    const { hostname, port } = new URL(places[turn++ % places.length]);
    const outer = dial(port, hostname);
    const pair = [inner, outer];
    pairs.add(pair);
    for (const [from, to] of [pair, [outer, inner]]) {
      from.on("data", (data) => to.write(data));
      from.on("error", () => {});
      from.on("close", () => {
        to.destroy();
        pairs.delete(pair);
      });
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const cut = () => {
    for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy();
  };
  t.after(() => {
    cut();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, cut, opened: () => turn };
}

/** The official client with stateful reconnect, and what its program is told. */
async function stateful(t, place, { hub, protocol = "json", user }) {
  const told = [];
  const connection = new HubConnectionBuilder()
    .withUrl(at(place, demo).client(hub), {
      transport: HttpTransportType.WebSockets,
      accessTokenFactory: () => clientToken(demo, { hub, user }),
    })
    .withHubProtocol(protocol === "json" ? new JsonHubProtocol() : new MessagePackHubProtocol())
    .withStatefulReconnect()
    .withAutomaticReconnect()
    .configureLogging(LogLevel.None)
    .build();
  connection.onclose((error) => told.push(`closed: ${error}`));
  connection.onreconnecting((error) => told.push(`reconnecting: ${error}`));
  connection.onreconnected(() => told.push("reconnected"));
  const client = new Client(connection, ["message"]);
  await within(connection.start(), "the client to connect");
  t.after(() => connection.stop());
  return { client, told };
}

const numbers = (client) => client.received.map(({ args: [n] }) => n);

for (const protocol of ["json", "messagepack"]) {
  for (const [where, places] of [["behind the front", [front]], ["on both edges in turn", edges]]) {
    test(`R-15 R-18 1,000 pushes over ${protocol} ${where} arrive once and in order over several cuts`, async (t) => {
      const hub = `stateful-${protocol}-${places.length}`;
      const line = await proxy(t, places);
      const { client, told } = await stateful(t, line.url, { hub, protocol, user: "ada" });
      const id = client.id;
      const joined = await rest(front, demo, "PUT", `/hubs/${hub}/groups/room/connections/${id}`);
      assert.ok(joined.ok, `join the group: ${joined.status}`);

      const total = 1000;
      const cuts = new Set([150, 300, 450, 620, 800, 950]);
      // The client gives up when it is cut off while it dials: it must be back.
      const cut = async (n) => {
        await client.message(({ args: [last] }) => last === n - 1, `push ${n - 1}`);
        line.cut();
      };
      for (let n = 0; n < total; n++) {
        if (cuts.has(n)) await cut(n);
        await publish(front, demo, `/hubs/${hub}/groups/room`, "message", n);
      }
      await cut(total);
      await publish(front, demo, `/hubs/${hub}/groups/room`, "message", total);
      await client.message(({ args: [n] }) => n === total, "the last push");

      assert.deepEqual(numbers(client), Array.from({ length: total + 1 }, (_, n) => n));
      assert.deepEqual(told, [], "the program was told of a reconnect");
      assert.equal(client.id, id);
      assert.equal(client.connection.state, HubConnectionState.Connected);
      assert.ok(line.opened() > cuts.size, `only ${line.opened()} sockets were opened: nothing was cut`);
    });
  }
}

test("calls made while the socket is away are answered once", async (t) => {
  const line = await proxy(t, edges);
  const { client, told } = await stateful(t, line.url, { hub: "stateful-calls" });
  const answers = [];
  for (let n = 0; n < 50; n++) {
    if (n % 10 === 5) {
      await within(answers[n - 1], "the client to be back");
      line.cut();
    }
    // The hub has no handler: its answer is an error that says so.
    answers.push(client.connection.invoke("Echo", n).then(() => "result", (error) => error.message));
    await new Promise((done) => setImmediate(done));
  }
  const all = await within(Promise.all(answers), "every call to be answered");
  for (const answer of all) assert.match(answer, /REST API/);
  assert.deepEqual(told, []);
});

test("R-13 a client that has stopped is gone at once", async (t) => {
  const hub = "stateful-stop";
  const { client } = await stateful(t, front, { hub });
  const there = async () => (await rest(front, demo, "HEAD", `/hubs/${hub}/connections/${id}`)).status;
  const id = client.id;
  assert.equal(await there(), 200);
  await client.stop();
  await eventually(async () => (await there()) === 404, "the connection to be gone", 10_000);
});
