// The official client in Chromium, on a page of another origin than the hub's.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, test } from "node:test";

import { assertQuiet, launch, open } from "../browser.mjs";
import { matrix } from "../service.mjs";
import { line, startHub, unique } from "./hub.mjs";

const url = await startHub();
const browser = await launch({ after });
const packages = join(import.meta.dirname, "..", "node_modules", "@microsoft");
const files = {
  "/": ["text/html", async () => '<!doctype html><link rel="icon" href="data:,"><script src="/signalr.js"></script><script src="/msgpack.js"></script>'],
  "/signalr.js": ["text/javascript", () => readFile(join(packages, "signalr/dist/browser/signalr.js"))],
  "/msgpack.js": ["text/javascript", () => readFile(join(packages, "signalr-protocol-msgpack/dist/browser/signalr-protocol-msgpack.js"))],
};

/** A page with the client's browser build, at an origin of its own. */
async function page(t) {
  const server = createServer(async ({ url: path }, response) => {
    const [type, read] = files[path];
    response.writeHead(200, { "content-type": type }).end(await read());
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => server.closeAllConnections());
  t.after(() => server.close());
  return open(t, browser, `http://localhost:${server.address().port}/`);
}

/** Runs in the page: one of everything. */
async function everything({ url, transport, protocol, name }) {
  const { signalR } = window;
  const wait = (what, start) => Promise.race([new Promise(start), new Promise((_, no) => setTimeout(() => no(new Error(`waited for ${what}`)), 10_000))]);
  const connection = new signalR.HubConnectionBuilder()
    .withUrl(`${url}/secure?colour=green`, { transport: signalR.HttpTransportType[transport], accessTokenFactory: () => "grace" })
    .withHubProtocol(protocol === "json" ? new signalR.JsonHubProtocol() : new signalR.protocols.msgpack.MessagePackHubProtocol())
    .withAutomaticReconnect([0, 100])
    .configureLogging(signalR.LogLevel.None)
    .build();
  const pushes = [];
  connection.on("push", (n) => pushes.push(n));
  connection.on("question", async (n) => `answer ${n}`);
  await connection.start();
  const id = connection.connectionId;
  const me = await connection.invoke("WhoAmI");
  const echo = await connection.invoke("Echo", { text: "æ 漢 😀", list: [1, null, true] });
  await connection.invoke("Pushes", 3);
  const stream = [];
  await wait("a stream", (complete, error) => connection.stream("Count", 5).subscribe({ next: (n) => stream.push(n), complete, error }));
  const subject = new signalR.Subject();
  const sum = connection.invoke("Sum", subject, 1);
  for (const n of [2, 3]) subject.next(n);
  subject.complete();
  const uploaded = await sum;
  const answer = await connection.invoke("Ask", id, "question", 4);
  await connection.invoke("Join", name);
  const failure = await connection.invoke("Fail").catch((error) => error.message);
  const back = wait("a reconnect", (done) => connection.onreconnected(done));
  connection.send("Close", "", true);
  const again = await back;
  const after = await connection.invoke("Add", 1, 1);
  await connection.stop();
  const agent = me.headers["X-Signalr-User-Agent"]?.[0] ?? "";
  return { same: me.id === id, user: me.user, transport: me.transport, agent, colour: me.query.colour, echo, pushes, stream, uploaded, answer, failure, fresh: again !== id, after };
}

for (const [transport, protocol] of matrix) {
  test(`N-19 A-04 I-01 P-08 S-01 U-01 C-01 G-01 L-03 ${transport}, ${protocol}: one of everything, across origins`, async (t) => {
    const here = await page(t);
    const { agent, failure, ...seen } = await here.evaluate(everything, { url, transport, protocol, name: unique("page") });
    assert.deepEqual(seen, {
      same: true, user: "grace", transport, colour: ["green"],
      echo: { text: "æ 漢 😀", list: [1, null, true] },
      pushes: [0, 1, 2], stream: [0, 1, 2, 3, 4], uploaded: 6, answer: "answer 4", fresh: true, after: 2,
    });
    assert.match(failure, /An unexpected error occurred invoking 'Fail' on the server\.$/);
    if (transport === "LongPolling") assert.match(agent, /^Microsoft SignalR\/10\.0/);
    // The client takes leave of a long polling connection that the server has ended.
    assertQuiet(here, transport === "LongPolling" ? /status of 404/ : undefined);
  });
}

test("R-04 R-15 a stream in a page goes on when its WebSocket is cut in the middle", async (t) => {
  const [way, here] = [await line(t, url, "/stateful"), await page(t)];
  await here.exposeFunction("cut", way.cut);
  const seen = await here.evaluate(async (url) => {
    const { signalR } = window;
    const connection = new signalR.HubConnectionBuilder().withUrl(url).withStatefulReconnect().configureLogging(signalR.LogLevel.None).build();
    let closed = false;
    connection.onclose(() => (closed = true));
    await connection.start();
    const id = connection.connectionId;
    const items = [];
    await new Promise((complete, error) =>
      connection.stream("Count", 3_000).subscribe({
        next: (n) => {
          items.push(n);
          if (n === 1_500) window.cut();
        },
        complete,
        error,
      }),
    );
    // The cut may be on its way still.
    for (let i = 0; i < 3; i++) await connection.invoke("Add", i, 1);
    return { items, closed, same: id === connection.connectionId, transport: (await connection.invoke("WhoAmI")).transport };
  }, way.url);
  assert.deepEqual(seen, { items: Array.from({ length: 3_000 }, (_, i) => i), closed: false, same: true, transport: "WebSockets" });
  assert.equal(way.cuts(), 1);
});
