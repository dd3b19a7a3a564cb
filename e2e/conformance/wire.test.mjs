// What requests, WebSockets and bytes show that the official client never sends
// or never lets its user see.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createConnection } from "node:net";
import { describe, test } from "node:test";

import { eventually, within } from "../service.mjs";
import { call, negotiate, shake, Socket, startHub, unique } from "./hub.mjs";

const url = await startHub();
const hub = `${url}/hub`;
const end = "\u001e";
const opened = JSON.stringify({ protocol: "json", version: 1 }) + end;
const record = (message) => JSON.stringify(message) + end;

/** A response as [status, body]. */
async function ask(target, init) {
  const answer = await fetch(target, init);
  return [answer.status, await answer.text()];
}
const post = (target, body) => ask(target, { method: "POST", body });

/** A long polling connection after its first poll, its handshake and the answer to it. */
async function polling(base = hub) {
  const { connectionToken } = await negotiate(base);
  const at = `${base}?id=${connectionToken}`;
  const first = await fetch(at);
  assert.deepEqual([first.status, await first.text()], [200, ""]);
  await post(at, opened);
  assert.deepEqual(await ask(at), [200, `{}${end}`]);
  return at;
}

/** An event stream, read as text piece by piece. */
async function events(t, base = hub) {
  const { connectionToken } = await negotiate(base);
  const at = `${base}?id=${connectionToken}`;
  const stop = new AbortController();
  t.after(() => stop.abort());
  const response = await fetch(at, { headers: { accept: "text/event-stream" }, signal: stop.signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  return {
    at, response, stop: () => stop.abort(),
    async until(part) {
      while (!text.includes(part)) {
        const { value, done } = await reader.read();
        assert.ok(!done, `the stream ended before ${JSON.stringify(part)}: ${JSON.stringify(text)}`);
        text += value;
      }
      return text;
    },
    async rest() {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return text;
        text += value;
      }
    },
  };
}

describe("negotiate", { concurrency: true }, () => {
  test("N-01 N-02 N-11 N-16 version 1: id, token, transports, and nothing else", async () => {
    const answer = await fetch(`${hub}/negotiate?negotiateVersion=1`, { method: "POST" });
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get("content-type"), /^application\/json/);
    const { connectionId, connectionToken, ...rest } = await answer.json();
    assert.ok(connectionId && connectionToken && connectionId !== connectionToken);
    assert.deepEqual(rest, {
      negotiateVersion: 1,
      availableTransports: [
        { transport: "WebSockets", transferFormats: ["Text", "Binary"] },
        { transport: "ServerSentEvents", transferFormats: ["Text"] },
        { transport: "LongPolling", transferFormats: ["Text", "Binary"] },
      ],
    });
  });

  test("N-03 version 0: one id, which opens the connection", async (t) => {
    const { connectionId, connectionToken } = await negotiate(hub, "");
    assert.equal(connectionToken, undefined);
    const socket = new Socket(t, `${hub}?id=${connectionId}`);
    await socket.opened;
  });

  test("N-04 N-05 N-06 versions that are too high, no integer, too low", async () => {
    assert.equal((await negotiate(hub, "negotiateVersion=9")).negotiateVersion, 1);
    assert.deepEqual(await negotiate(hub, "negotiateVersion=one"), { error: "The client requested a non-integer protocol version." });
    assert.deepEqual(await negotiate(hub, "negotiateVersion=-1"), { error: "The client requested version '-1', but the server does not support this version." });
  });

  test("N-07 T-04 other methods are refused", async () => {
    for (const method of ["GET", "PUT", "DELETE"]) assert.equal((await ask(`${hub}/negotiate`, { method }))[0], 405);
    for (const method of ["PUT", "PATCH"]) assert.equal((await ask(`${hub}?id=x`, { method }))[0], 405);
  });

  test("N-08 ids are unique and have 128 random bits", async () => {
    const all = await Promise.all(Array.from({ length: 50 }, () => negotiate(hub)));
    assert.equal(new Set(all.map(({ connectionId }) => connectionId)).size, 50);
    assert.equal(new Set(all.map(({ connectionToken }) => connectionToken)).size, 50);
    for (const { connectionId } of all) assert.equal(Buffer.from(connectionId, "base64url").length, 16);
  });

  test("N-09 T-02 T-03 the public id and unknown ids open nothing", async (t) => {
    const { connectionId } = await negotiate(hub);
    for (const id of [connectionId, "unknown"]) {
      const unknown = [404, "No Connection with that ID"];
      for (const method of ["GET", "POST", "DELETE"]) assert.deepEqual(await ask(`${hub}?id=${id}`, { method }), unknown);
      assert.deepEqual(await ask(`${hub}?id=${id}`, { headers: { accept: "text/event-stream" } }), unknown);
      await assert.rejects(new Socket(t, `${hub}?id=${id}`).opened, /404/);
    }
  });

  test("N-10 query keys in any case", async () => {
    assert.equal((await negotiate(hub, "NegotiateVERSION=1")).negotiateVersion, 1);
  });

  test("N-18 what is never connected is forgotten", async () => {
    const { connectionToken } = await negotiate(`${url}/brief`);
    await new Promise((done) => setTimeout(done, 2_100)); // tokens of this hub live for 2 s
    assert.deepEqual(await ask(`${url}/brief?id=${connectionToken}`), [404, "No Connection with that ID"]);
  });
});

describe("transports", { concurrency: true }, () => {
  test("T-01 an id is required", async () => {
    for (const method of ["GET", "POST", "DELETE"]) {
      const answer = await fetch(hub, { method });
      assert.deepEqual([answer.status, await answer.text()], [400, "Connection ID required"]);
      assert.match(answer.headers.get("content-type"), /^text\/plain/);
    }
  });

  test("T-05 T-06 T-07 T-08 a WebSocket connection takes no second one, no POST, no DELETE and no poll", async (t) => {
    const socket = await shake(t, hub);
    const at = `${hub}?id=${socket.token}`;
    await assert.rejects(new Socket(t, at).opened, /409/);
    assert.deepEqual(await post(at, opened), [405, "POST requests are not allowed for WebSocket connections."]);
    assert.deepEqual(await ask(at, { method: "DELETE" }), [400, "Cannot terminate this connection using the DELETE endpoint."]);
    assert.deepEqual(await ask(at), [400, "Cannot change transports mid-connection"]);
    assert.equal((await call(socket, { target: "Add", arguments: [1, 1] })).result, 2);
  });

  test("T-05 T-07 an event stream takes no second one and no DELETE", async (t) => {
    const { at, until } = await events(t);
    assert.equal((await ask(at, { headers: { accept: "text/event-stream" } }))[0], 409);
    assert.deepEqual(await ask(at, { method: "DELETE" }), [400, "Cannot terminate this connection using the DELETE endpoint."]);
    await post(at, opened);
    await until("data: {}");
  });

  test("T-09 transports that are turned off are not offered and not found", async (t) => {
    const offered = {};
    for (const only of ["websocket", "events", "polling"]) {
      const { connectionToken, availableTransports } = await negotiate(`${url}/${only}`);
      offered[only] = availableTransports.map(({ transport }) => transport);
      const at = `${url}/${only}?id=${connectionToken}`;
      if (only !== "polling") assert.deepEqual(await ask(at), [404, "LongPolling transport not supported by this end point type"]);
      if (only !== "events") assert.deepEqual(await ask(at, { headers: { accept: "text/event-stream" } }), [404, "ServerSentEvents transport not supported by this end point type"]);
      if (only !== "websocket") await assert.rejects(new Socket(t, at).opened, /404/);
    }
    assert.deepEqual(offered, { websocket: ["WebSockets"], events: ["ServerSentEvents"], polling: ["LongPolling"] });
  });

  test("T-10 a WebSocket without negotiation, where the endpoint allows it", async (t) => {
    const socket = new Socket(t, hub);
    await socket.opened;
    socket.send(opened);
    assert.deepEqual(await socket.next(), {});
    await assert.rejects(new Socket(t, `${url}/strict`).opened, /400/);
  });

  test("T-11 T-13 a client's close is answered with 1000 and spends the id", async (t) => {
    const socket = await shake(t, hub);
    socket.socket.close(1000);
    assert.equal(await socket.end(), 1000);
    await eventually(async () => (await ask(`${hub}?id=${socket.token}`))[0] === 404, "the id to be unknown");
  });

  test("T-12 frames are text for JSON and binary for MessagePack", async (t) => {
    const text = await shake(t, hub);
    await call(text, { target: "Nothing", arguments: [] });
    assert.deepEqual(new Set(text.frames), new Set([false]));
    const binary = new Socket(t, hub);
    await binary.opened;
    binary.send(record({ protocol: "messagepack", version: 1 }));
    const answer = await binary.next(); // JSON, in a binary frame
    assert.equal(Buffer.from(answer).toString(), `{}${end}`);
    assert.deepEqual(binary.frames, [true]);
  });

  test("T-15 a client that leaves the close of its WebSocket unanswered is dropped", async (t) => {
    const { hostname, port, pathname } = new URL(hub);
    const socket = createConnection({ host: hostname, port });
    t.after(() => socket.destroy());
    socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString("base64")}\r\n\r\n`);
    await within(once(socket, "data"), "the upgrade");
    const payload = Buffer.from(record({ protocol: "xml", version: 1 }));
    socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload])); // masked with zeros
    const ended = new Promise((done) => socket.once("close", done));
    await within(ended, "the server to drop the socket"); // it waits for 5 s
  });

  test("T-16 T-17 an event stream begins at once and frames payloads as events", async (t) => {
    const { at, response, until } = await events(t);
    assert.equal(response.status, 200);
    assert.match(response.headers.get("content-type"), /^text\/event-stream/);
    assert.match(response.headers.get("cache-control"), /no-cache/);
    assert.equal(response.headers.get("x-accel-buffering"), "no");
    assert.match(await until("\r\n\r\n"), /^:/);
    assert.deepEqual(await post(at, opened), [200, ""]);
    assert.ok((await until("{}")).includes(`data: {}${end}\r\n\r\n`));
  });

  test("T-22 a dropped event stream ends the connection and spends its id", async (t) => {
    const name = unique("dropped");
    const { at, stop, until } = await events(t, hub);
    await post(at, opened);
    await until("{}");
    await post(at, record({ type: 4, invocationId: "1", target: "Endless", arguments: [name] }));
    await until('"item":2');
    stop();
    const observer = await shake(t, hub);
    assert.equal((await call(observer, { target: "Await", arguments: [name] })).result, "cancelled");
    await eventually(async () => (await post(at, ""))[0] === 404, "the id to be unknown");
  });

  test("T-19 T-31 bodies are one stream of bytes: pieces of a message, many messages", async () => {
    const at = await polling();
    const text = record({ type: 1, invocationId: "1", target: "Add", arguments: [1, 2] }) + record({ type: 1, invocationId: "2", target: "Add", arguments: [3, 4] });
    for (const part of [text.slice(0, 7), text.slice(7, 70), text.slice(70)]) assert.deepEqual(await post(at, part), [200, ""]);
    let got = "";
    while (got.split(end).length < 3) got += (await ask(at))[1];
    assert.deepEqual(got.split(end).slice(0, 2).map((m) => JSON.parse(m).result), [3, 7]);
  });

  test("T-20 a POST whose body breaks off is refused", async (t) => {
    const at = await polling();
    const { hostname, port, pathname, search } = new URL(at);
    const socket = createConnection({ host: hostname, port, allowHalfOpen: true });
    t.after(() => socket.destroy());
    socket.end(`POST ${pathname}${search} HTTP/1.1\r\nHost: ${hostname}\r\nContent-Length: 100\r\n\r\nhalf`);
    const [answer] = await within(once(socket, "data"), "an answer to half a body");
    assert.match(answer.toString(), /^HTTP\/1\.1 400 /);
  });

  test("T-21 a POST to a connection that has ended is not found", async () => {
    const at = await polling();
    await ask(at, { method: "DELETE" });
    assert.deepEqual(await post(at, record({ type: 6 })), [404, "No Connection with that ID"]);
  });

  test("T-24 T-32 what is sent between polls waits and comes in one body", async (t) => {
    const at = await polling();
    const name = unique("sent");
    await post(at, record({ type: 1, target: "Pushes", arguments: [3] }) + record({ type: 1, target: "Tell", arguments: [name, "all"] }));
    const observer = await shake(t, hub);
    assert.equal((await call(observer, { target: "Await", arguments: [name] })).result, "all");
    const answer = await fetch(at);
    assert.equal(answer.headers.get("content-type"), "application/octet-stream");
    assert.match(answer.headers.get("cache-control"), /no-cache/);
    assert.equal(await answer.text(), [0, 1, 2].map((n) => record({ type: 1, target: "push", arguments: [n] })).join(""));
  });

  test("T-23 T-25 T-26 T-29 the first poll is empty at once; a poll without data ends empty and unpinged; a second one ends the first with 204", async () => {
    const at = await polling(`${url}/brief`); // would ping after 0.3 s
    assert.deepEqual(await ask(at), [200, ""]); // after the test hub's 2 s
    const polls = [ask(at), ask(at)]; // which of them arrives first is the network's matter
    const [ended, newer] = await Promise.race(polls.map(async (poll, i) => [await poll, polls[1 - i]]));
    assert.deepEqual(ended, [204, ""]);
    await post(at, record({ type: 1, invocationId: "1", target: "Nothing", arguments: [] }));
    assert.deepEqual(await newer, [200, record({ type: 3, invocationId: "1", result: null })]);
  });

  test("T-27 an open poll of a connection that ends gets the Close and 204, later ones 404", async () => {
    const at = await polling();
    await post(at, record({ type: 1, target: "Close", arguments: ["", false] }));
    assert.deepEqual(await ask(at), [200, record({ type: 7 })]);
    assert.equal((await ask(at))[0], 204);
    await eventually(async () => (await ask(at))[0] === 404, "the id to be unknown");
  });

  test("T-28 a DELETE ends long polling, between polls too, and the hub knows", async (t) => {
    const name = unique("deleted");
    const { connectionToken } = await negotiate(hub);
    const at = `${hub}?watch=${name}&id=${connectionToken}`;
    await ask(at);
    await post(at, opened);
    await ask(at);
    assert.deepEqual(await ask(at, { method: "DELETE" }), [202, ""]);
    const observer = await shake(t, hub);
    assert.equal((await call(observer, { target: "Await", arguments: [name] })).result, "disconnected: <nil>");
  });

  test("T-30 a client that polls no more is ended", async (t) => {
    const name = unique("lapsed");
    const at = (await negotiate(`${url}/brief`)).connectionToken;
    const poll = `${url}/brief?watch=${name}&id=${at}`;
    await ask(poll);
    await post(poll, opened);
    await ask(poll);
    const observer = await shake(t, `${url}/brief`);
    const ended = call(observer, { target: "Await", arguments: [name] });
    assert.equal((await ended).result, "disconnected: the client has been silent for too long");
    await eventually(async () => (await ask(poll))[0] === 404, "the id to be unknown");
  });
});

describe("handshake", { concurrency: true }, () => {
  /** A socket that sent this first. */
  const first = async (t, text, base = hub) => {
    const socket = new Socket(t, base);
    await socket.opened;
    for (const part of [text].flat()) socket.send(part);
    return socket;
  };
  const unexpected = "An unexpected error occurred during connection handshake.";

  test("H-01 H-05 H-11 H-13 H-16 accepted whole, in pieces, with unknown properties, in version 2", async (t) => {
    for (const text of [opened, [opened.slice(0, 5), opened.slice(5)], record({ extra: { a: [1] }, version: 1, protocol: "json" }), record({ protocol: "json", version: 2 })]) {
      const socket = await first(t, text);
      assert.deepEqual(await socket.next(), {});
    }
  });

  test("H-02 H-03 H-07 H-08 what is refused gets a reason and the end", async (t) => {
    for (const [text, error, detail = ""] of [
      [record({ protocol: "xml", version: 1 }), "The protocol 'xml' is not supported."],
      [record({ protocol: "json", version: 9001 }), "The server does not support version 9001 of the 'json' protocol."],
      [`not JSON${end}`, unexpected, " InvalidDataException: "],
      [record([]), unexpected, " InvalidDataException: "],
      [record({ protocol: 1, version: 1 }), unexpected, " InvalidDataException: "],
      [record({ type: 1, target: "Add", arguments: [] }), unexpected, " InvalidDataException: Missing required property 'protocol'."],
    ]) {
      const socket = await first(t, text);
      assert.deepEqual(await socket.next(), { error });
      await socket.end();
      const detailed = await first(t, text, `${url}/detailed`);
      const told = await detailed.next();
      assert.ok(told.error.startsWith(error + detail), told.error);
    }
  });

  test("H-04 MessagePack over an event stream is refused", async (t) => {
    const { at, rest } = await events(t);
    await post(at, record({ protocol: "messagepack", version: 1 }));
    assert.ok((await rest()).includes("Cannot use the 'messagepack' protocol on the current transport. The transport does not support 'Binary' transfer format."));
  });

  test("H-06 handshake and invocation in one payload", async (t) => {
    const socket = await first(t, opened + record({ type: 1, invocationId: "1", target: "Add", arguments: [1, 2] }));
    assert.deepEqual(await socket.next(), {});
    assert.equal((await socket.next()).result, 3);
  });

  test("H-09 none in time", async (t) => {
    const socket = await first(t, [], `${url}/brief`);
    assert.deepEqual(await socket.next(), { error: "Handshake was canceled." });
    await socket.end();
  });

  test("H-10 one that is larger than any message", async (t) => {
    const socket = await first(t, record({ protocol: "json", version: 1, padding: "x".repeat(40_000) }));
    assert.deepEqual(await socket.next(), { error: "Handshake was canceled." });
    await socket.end();
  });

  test("H-12 the answer to a MessagePack handshake is JSON", async (t) => {
    const socket = await first(t, record({ protocol: "messagepack", version: 1 }));
    assert.equal(Buffer.from(await socket.next()).toString(), `{}${end}`);
  });

  test("H-14 half a handshake and then nothing more closes quietly", async (t) => {
    const socket = await first(t, opened.slice(0, 9));
    socket.socket.close(1000);
    assert.equal(await socket.end(), 1000);
    assert.deepEqual(socket.messages, []);
  });
});

describe("errors and keep-alive", { concurrency: true }, () => {
  const closed = "Connection closed with an error.";

  /** The Close message after this text, and the end. */
  async function closing(t, base, ...texts) {
    const socket = await shake(t, base);
    socket.send(...texts);
    const message = await socket.next(({ type }) => type === 7);
    await socket.end();
    return message;
  }

  test("E-04 E-13 what is no message closes the connection", async (t) => {
    for (const text of [`nonsense${end}`, record({ type: 1, arguments: [] }), record({ type: "1" }), record({ type: 3, invocationId: "1", result: 1, error: "x" })]) {
      assert.deepEqual(await closing(t, hub, text), { type: 7, error: closed });
      assert.match((await closing(t, `${url}/detailed`, text)).error, /^Connection closed with an error\. InvalidDataException: ./);
    }
    assert.equal((await closing(t, `${url}/detailed`, record({ type: 1, arguments: [] }))).error, `${closed} InvalidDataException: Missing required property 'target'.`);
  });

  test("E-05 E-06 a message may have 32,768 bytes, a frame any number of them", async (t) => {
    const large = record({ type: 1, invocationId: "1", target: "Echo", arguments: ["x".repeat(33_000)] });
    assert.deepEqual(await closing(t, hub, large), { type: 7, error: closed });
    assert.equal(
      (await closing(t, `${url}/detailed`, large)).error,
      `${closed} InvalidDataException: The maximum message size of 32768B was exceeded. The message size can be configured in AddHubOptions.`,
    );
    const socket = await shake(t, hub);
    const some = { type: 1, target: "Echo", arguments: ["x".repeat(10_000)] };
    socket.send(some, some, some, some, { ...some, invocationId: "last" });
    await socket.next(({ invocationId }) => invocationId === "last");
  });

  test("E-09 T-13 the server's end without a reason is a Close and 1000", async (t) => {
    const socket = await shake(t, hub);
    socket.send({ type: 1, target: "Close", arguments: ["", false] });
    assert.deepEqual(await socket.next(), { type: 7 });
    assert.equal(await socket.end(), 1000);
  });

  test("E-12 a Close of the client ends the connection", async (t) => {
    const socket = await shake(t, hub);
    socket.send({ type: 7 });
    await socket.end();
  });

  test("E-15 an unknown type is passed over", async (t) => {
    const socket = await shake(t, hub);
    socket.send({ type: 99, anything: [] }, { type: 0 });
    assert.equal((await call(socket, { target: "Add", arguments: [1, 1] })).result, 2);
  });

  test("E-16 headers, unknown properties and any order are accepted", async (t) => {
    const socket = await shake(t, hub);
    socket.send('{"arguments":[2,3],"headers":{"a":"b"},"later":{"x":[1]},"target":"Add","invocationId":"7","type":1}' + end);
    assert.deepEqual(await socket.next(), { type: 3, invocationId: "7", result: 5 });
  });

  test("P-02 a push has no invocation id", async (t) => {
    const socket = await shake(t, hub);
    socket.send({ type: 1, target: "Pushes", arguments: [1] });
    assert.deepEqual(await socket.next(), { type: 1, target: "push", arguments: [0] });
  });

  test("K-01 K-03 K-04 pings come after silence; those of the client are not answered, and need not come", async (t) => {
    const quiet = await shake(t, `${url}/brief`);
    for (let i = 0; i < 8; i++) assert.deepEqual(await quiet.next(), { type: 6 }); // longer than the time-out of a client that pings
    assert.equal((await call(quiet, { target: "Add", arguments: [1, 1] })).result, 2);
    const stream = await events(t, `${url}/brief`);
    await post(stream.at, opened);
    await stream.until(record({ type: 6 }).trimEnd());
    const calm = await shake(t, hub); // pings after 15 s
    calm.send({ type: 6 });
    assert.equal((await call(calm, { target: "Add", arguments: [1, 1] })).result, 2);
    assert.deepEqual(calm.messages, []);
  });

  test("K-05 a client that pinged and fell silent is ended", async (t) => {
    const socket = await shake(t, `${url}/brief`);
    socket.send({ type: 6 });
    assert.deepEqual(await socket.next(({ type }) => type === 7), { type: 7, error: closed, allowReconnect: true });
    await socket.end();
  });

  test("K-06 any message is a sign of life", async (t) => {
    const socket = await shake(t, `${url}/brief`);
    socket.send({ type: 6 });
    for (let i = 0; i < 8; i++) {
      await socket.next(({ type }) => type === 6); // every 0.3 s
      socket.send({ type: 5, invocationId: "nothing" });
    }
    assert.equal((await call(socket, { target: "Add", arguments: [1, 1] })).result, 2);
  });
});
