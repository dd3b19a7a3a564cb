// How the official client gets to a hub, or learns why it does not.
import assert from "node:assert/strict";
import { createServer, request as ask } from "node:http";
import { describe, test } from "node:test";

import { DefaultHttpClient, HttpClient, HttpResponse, NullLogger } from "@microsoft/signalr";

import { clientToken, matrix, within } from "../service.mjs";
import { stack } from "../stack.mjs";
import { build, connect, failure, negotiate, Socket, startHub } from "./hub.mjs";

const url = await startHub();

/** A server of the user's own that answers every request like this. */
async function answering(t, answer) {
  const requests = [];
  const server = createServer((request, response) => {
    requests.push(request);
    const { status = 200, body } = answer(request);
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => server.closeAllConnections());
  t.after(() => server.close());
  return { url: `http://127.0.0.1:${server.address().port}/hub`, requests };
}

/** Why a client can't start. */
const refusal = (base, how) => failure(build(base, how).start());

describe("negotiate", () => {
  test("N-12 stateful reconnect is never offered unasked", async (t) => {
    for (const query of ["negotiateVersion=1", "negotiateVersion=1&useStatefulReconnect=false"]) {
      assert.equal((await negotiate(`${url}/hub`, query)).useStatefulReconnect, undefined);
    }
    // What the client would say if it were:
    const eager = await answering(t, () => ({ body: { negotiateVersion: 1, connectionId: "a", connectionToken: "b", useStatefulReconnect: true, availableTransports: [] } }));
    assert.match(await refusal(eager.url), /Client didn't negotiate Stateful Reconnect but the server did\./);
  });

  test("N-13 A-06 a user's server redirects the client here, with a token of ours", async (t) => {
    for (const [transport, protocol] of matrix) {
      const redirecting = await answering(t, () => ({ body: { url: `${url}/secure?colour=green`, accessToken: "dora" } }));
      const c = await connect(t, `${redirecting.url}?first=yes`, { transport, protocol, options: { accessTokenFactory: () => "for the user's server" } });
      const me = await c.invoke("WhoAmI");
      assert.deepEqual([me.user, me.query.colour, me.query.first], ["dora", ["green"], undefined]);
      assert.equal(redirecting.requests[0].headers.authorization, "Bearer for the user's server");
    }
  });

  test("N-14 a ring of redirects ends", async (t) => {
    const ring = await answering(t, ({ headers }) => ({ body: { url: `http://${headers.host}/hub` } }));
    assert.match(await refusal(ring.url), /Negotiate redirection limit exceeded\./);
    assert.ok(ring.requests.length <= 101);
  });

  test("N-15 an error in the answer is why the client can't start", async () => {
    assert.match(await refusal(`${url}/hub?negotiateVersion=old`), /The client requested a non-integer protocol version\.$/);
  });

  test("N-17 another status, and a path without a hub", async () => {
    assert.match(await refusal(`${url}/nowhere`), /Failed to complete negotiation with the server: Error: .*: Status code '404' Either this is not a SignalR endpoint or there is a proxy blocking the connection\./s);
  });
});

describe("transports", () => {
  test("T-34 T-35 MessagePack passes event streams over; WebSockets are first", async (t) => {
    assert.match(await refusal(`${url}/events`, { protocol: "messagepack" }), /'ServerSentEvents' does not support Binary\./);
    for (const protocol of ["json", "messagepack"]) {
      assert.equal((await (await connect(t, `${url}/hub`, { protocol })).invoke("WhoAmI")).transport, "WebSockets");
    }
  });

  test("T-36 behind a proxy without WebSockets the next transport is taken", async (t) => {
    for (const [protocol, transport] of [["json", "ServerSentEvents"], ["messagepack", "LongPolling"]]) {
      const c = await connect(t, `${url}/hub?no_websockets=1`, { protocol });
      assert.equal((await c.invoke("WhoAmI")).transport, transport);
    }
    const text = await refusal(`${url}/websocket?no_websockets=1`);
    assert.match(text, /^Unable to connect to the server with any of the available transports\. /);
  });

  for (const [name, block] of Object.entries({
    "refuses the upgrade": (socket) => socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    "lets the upgrade hang before it gives up": (socket) => setTimeout(() => socket.destroy(), 500),
    "cuts the socket": (socket) => socket.destroy(),
    "drops the Upgrade header": null, // the server sees a poll, and answers it
  })) {
    test(`T-36 a proxy that ${name}: Server-Sent Events, or else long polling`, async (t) => {
      for (const [protocol, events, transport] of [["json", true, "ServerSentEvents"], ["json", false, "LongPolling"], ["messagepack", true, "LongPolling"]]) {
        const seen = [];
        const pass = (request, response) => {
          const { connection, upgrade, ...headers } = request.headers;
          const onward = ask(new URL(request.url, url), { method: request.method, headers }, (answer) => {
            response.writeHead(answer.statusCode, answer.headers);
            answer.pipe(response);
          });
          onward.on("error", () => response.destroy());
          response.on("close", () => onward.destroy());
          request.pipe(onward);
        };
        const proxy = createServer((request, response) => {
          if (request.headers.accept === "text/event-stream") {
            seen.push("events");
            if (!events) return response.writeHead(502).end();
          }
          if (request.headers.upgrade) seen.push("upgrade");
          pass(request, response);
        });
        if (block) {
          proxy.on("upgrade", (_, socket) => {
            seen.push("upgrade");
            socket.on("error", () => {});
            block(socket);
          });
        }
        await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
        t.after(() => proxy.closeAllConnections());
        t.after(() => proxy.close());
        const c = await connect(t, `http://127.0.0.1:${proxy.address().port}/hub`, { protocol });
        assert.equal((await c.invoke("WhoAmI")).transport, transport);
        assert.deepEqual(seen, protocol === "json" ? ["upgrade", "events"] : ["upgrade"]);
        await c.stop();
      }
    });
  }

  test("H-15 a refused handshake is why the client can't start", async () => {
    const c = build(`${url}/hub`);
    const { writeHandshakeRequest } = c._handshakeProtocol;
    c._handshakeProtocol.writeHandshakeRequest = (request) => writeHandshakeRequest({ ...request, version: 77 });
    assert.match(await failure(c.start()), /Server returned handshake error: The server does not support version 77 of the 'json' protocol\./);
  });
});

describe("keep-alive", { concurrency: true }, () => {
  test("K-07 a client whose server falls silent ends the connection", async (t) => {
    const c = await connect(t, `${url}/hub`); // pings after 15 s
    const closed = new Promise((done) => c.onclose((error) => done({ error })));
    c.serverTimeoutInMilliseconds = 200;
    assert.equal(await c.invoke("Add", 1, 1), 2);
    const { error } = await within(closed, "the client to give up");
    assert.match(error.message, /Server timeout elapsed without receiving a message from the server\./);
  });

  test("K-08 an idle client stays, by pings of either side, over every transport", async (t) => {
    // The test hub's limits here are 0.3 s and 2 s, where production has 15 s and 30 s.
    const all = await Promise.all(matrix.map(async ([transport, protocol]) => {
      const c = build(`${url}/brief`, { transport, protocol });
      c.serverTimeoutInMilliseconds = transport === "LongPolling" ? 30_000 : 2_000;
      c.keepAliveIntervalInMilliseconds = 300;
      t.after(() => c.stop());
      await c.start();
      return c;
    }));
    await new Promise((done) => setTimeout(done, 3_000));
    for (const c of all) assert.equal(await c.invoke("Add", 1, 1), 2);
  });
});

describe("authentication", () => {
  const as = (user) => ({ options: { accessTokenFactory: () => user } });

  test("A-01 A-03 who is nobody gets 401, who is barred 403", async () => {
    assert.match(await refusal(`${url}/secure`), /Failed to complete negotiation with the server: Error: Unauthorized: Status code '401'/);
    assert.match(await refusal(`${url}/secure`, as("banned")), /Error: Forbidden: Status code '403'/);
  });

  test("A-02 A-04 each request needs the token, in the header or the query", async (t) => {
    const { connectionToken } = await negotiate(`${url}/secure`, "negotiateVersion=1&access_token=eve");
    const at = `${url}/secure?id=${connectionToken}`;
    for (const method of ["GET", "POST", "DELETE"]) assert.equal((await fetch(at, { method })).status, 401);
    assert.equal((await fetch(at, { headers: { accept: "text/event-stream" } })).status, 401);
    await assert.rejects(new Socket(t, at).opened, /401/);
    assert.equal((await fetch(`${at}&access_token=mallory`)).status, 403);
    assert.equal((await fetch(at, { headers: { authorization: "Bearer eve" } })).status, 200);
    assert.equal((await fetch(`${at}&access_token=eve`, { method: "DELETE" })).status, 202);
  });

  test("A-05 a client whose token has gone stale asks for a new one, once", async (t) => {
    // The client's own way over fetch throws at a 401 before it can ask again;
    // one that hands the status on, as an HttpClient may, lets it.
    class Plain extends HttpClient {
      #inner = new DefaultHttpClient(NullLogger.instance);
      send(request) {
        return this.#inner.send(request).catch((error) => new HttpResponse(error.statusCode ?? 0, error.message, ""));
      }
      getCookieString(at) {
        return this.#inner.getCookieString(at);
      }
    }
    let asked = 0;
    const options = { httpClient: new Plain(), accessTokenFactory: async () => (asked++, "frank") };
    const c = await connect(t, `${url}/secure`, { transport: "LongPolling", options });
    const before = asked;
    c.connection._httpClient._accessToken = "stale"; // what the server no longer takes
    assert.equal((await c.invoke("WhoAmI")).user, "frank");
    assert.equal(asked - before, 1);
  });

  test("A-07 an edge of the service refuses tokens that are forged or have expired", async () => {
    const { service_url: front, tenants: [tenant] } = await stack();
    const base = `${front}/client/?hub=${tenant.hub}`;
    for (const token of [clientToken(tenant, { key: "another key" }), clientToken(tenant, { seconds: -600 }), "no token"]) {
      assert.match(await refusal(base, as(token)), /Status code '401'/);
    }
  });
});
