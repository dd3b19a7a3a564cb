// Streams both ways and results of clients, over every transport and protocol.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Subject } from "@microsoft/signalr";

import { matrix, within } from "../service.mjs";
import { behind, call, collect, connect, dialed, failure, hidden, lacks, shake, startHub, unique } from "./hub.mjs";

const url = await startHub();
const generic = (method) => `An unexpected error occurred invoking '${method}' on the server.`;
const whileStreaming = "An error occurred on the server while streaming results.";
const numbers = (count) => Array.from({ length: count }, (_, i) => i);

/** A stream to the server with these items, ended. */
function upload(items) {
  const subject = new Subject();
  queueMicrotask(() => {
    items.forEach((item) => subject.next(item));
    subject.complete();
  });
  return subject;
}

/** The connection lives, and what was uploaded in vain has been sent: the client sends in order. */
async function settled(c) {
  for (const n of numbers(3)) assert.equal(await c.invoke("Add", n, 1), n + 1);
}

for (const [transport, protocol] of matrix) {
  const client = (t, path = "/hub") => connect(t, url + path, { transport, protocol });

  describe(`${transport}, ${protocol}`, () => {
    test("S-01 S-02 streams come whole and end, empty ones too", { skip: lacks.streams }, async (t) => {
      const c = await client(t);
      for (const method of ["Count", "Channel"]) {
        assert.deepEqual(await collect(c.stream(method, 5)), { items: numbers(5) });
        assert.deepEqual(await collect(c.stream(method, 0)), { items: [] });
      }
    });

    test("S-03 S-04 S-14 errors before and while streaming; items come first", { skip: lacks.streams }, async (t) => {
      const c = await client(t);
      const d = await client(t, "/detailed");
      assert.equal((await collect(c.stream("FailFirst"))).error.message, hidden("FailFirst"));
      assert.ok((await collect(d.stream("FailFirst"))).error.message.endsWith("Exception: too early"));
      for (const [connection, text] of [[c, whileStreaming], [d, `${whileStreaming} Exception: too late`]]) {
        const { items, error } = await collect(connection.stream("FailLater"));
        assert.deepEqual(items, [1, 2]);
        // An upstream in the native format has words of its own.
        if (behind === "native") assert.match(error.message, /^An error occurred on the server while streaming results\. HubException: ./);
        else assert.equal(error.message, text);
      }
    });

    test("S-05 S-12 cancelling a stream ends it on the server and no other", { skip: lacks.streams }, async (t) => {
      const c = await client(t);
      const [one, two] = [unique("cancelled"), unique("kept")];
      const other = collect(c.stream("Endless", two), { items: 4 });
      other.catch(() => {}); // it has three
      assert.deepEqual(await collect(c.stream("Endless", one), { items: 3 }), { items: [0, 1, 2] });
      assert.equal(await c.invoke("Await", one), "cancelled");
      await c.invoke("Tell", two, "nobody has cancelled this one");
      assert.equal(await c.invoke("Await", two), "nobody has cancelled this one");
    });

    test("S-06 the end of the connection cancels its streams", { skip: lacks.streams }, async (t) => {
      const [c, observer] = [await client(t), await client(t)];
      const name = unique("left");
      const left = collect(c.stream("Endless", name));
      await c.invoke("Add", 1, 1);
      await c.stop();
      assert.match((await left).error.message, /connection being closed|Invocation canceled/);
      assert.equal(await observer.invoke("Await", name), "cancelled");
    });

    test("I-12 a method that becomes a stream lets others run from then on", { skip: lacks.streams }, async (t) => {
      const [c, observer] = [await client(t), await client(t)];
      const name = unique("starting");
      const stream = collect(c.stream("Starting", name));
      assert.equal(await observer.invoke("Await", `${name} begun`), name);
      let answered = false;
      const behind = c.invoke("Add", 1, 2).finally(() => (answered = true));
      assert.equal(await observer.invoke("Add", 1, 1), 2);
      assert.equal(answered, false);
      await observer.invoke("Tell", name, "now a stream");
      assert.equal(await behind, 3);
      await observer.invoke("Tell", name, "and its end");
      assert.deepEqual(await stream, { items: ["now a stream", "and its end"] });
    });

    test("S-09 S-10 S-11 streams and plain methods are not taken for each other", { skip: lacks.streams }, async (t) => {
      const c = await client(t);
      assert.ok((await failure(c.invoke("Count", 1))).endsWith("The client attempted to invoke the streaming 'Count' method with a non-streaming invocation."));
      assert.ok((await collect(c.stream("Add", 1, 1))).error.message.endsWith("The client attempted to invoke the non-streaming 'Add' method with a streaming invocation."));
      assert.ok((await collect(c.stream("NoStream"))).error.message.endsWith("The value returned by the streaming method 'NoStream' is not a ChannelReader<> or IAsyncEnumerable<>."));
    });

    test("S-13 a thousand items come in order", { skip: lacks.streams }, async (t) => {
      const c = await client(t);
      assert.deepEqual(await collect(c.stream("Count", 1000)), { items: numbers(1000) });
    });

    test("S-13 ten thousand items wait for a client that is busy", { skip: lacks.streams }, async (t) => {
      const c = await client(t);
      const items = [];
      await within(new Promise((complete, error) =>
        c.stream("Count", 10_000).subscribe({
          next(n) {
            items.push(n);
            if (n === 100) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000); // reads nothing meanwhile
          },
          complete,
          error,
        }),
      ), "the stream's end");
      assert.deepEqual(items, numbers(10_000));
    });

    test("U-01 U-11 a method gets what is uploaded, and the end at once when it is nothing", { skip: lacks.streams }, async (t) => {
      const c = await client(t);
      assert.equal(await c.invoke("Concat", upload(["a", "", "ö", "z"])), "aöz");
      assert.equal(await c.invoke("Concat", upload([])), "");
      assert.equal(await c.invoke("Sum", upload([1, 2, 3]), 10), 16);
    });

    test("U-02 an upload that fails fails the method", { skip: lacks.streams }, async (t) => {
      const c = await client(t);
      const subject = new Subject();
      const answer = failure(c.invoke("Concat", subject));
      subject.next("a");
      subject.error(new Error("something bad"));
      assert.equal(await answer, `${generic("Concat")} HubException: something bad`);
    });

    test("U-03 U-04 several uploads are matched by position; a stream can go both ways", { skip: lacks.streams }, async (t) => {
      const c = await client(t);
      assert.equal(await c.invoke("Zip", upload(["x", "y"]), "-", upload([1, 2])), "x-y-1-2");
      assert.deepEqual(await collect(c.stream("Double", upload([1, 2, 3]))), { items: [2, 4, 6] });
    });

    test("U-05 an item of the wrong type fails its stream, and the connection lives", { skip: lacks.streams }, async (t) => {
      const c = await client(t);
      assert.match(await failure(c.invoke("Sum", upload([1, "two"]), 0)), /HubException: Failed to bind Stream message\.$/);
      await settled(c);
    });

    test("U-07 the number of uploads must be right", { skip: lacks.streams }, async (t) => {
      const c = await client(t);
      assert.ok((await failure(c.invoke("Zip", upload(["x"]), "-"))).endsWith(`${generic("Zip")} HubException: Client sent 1 stream(s), Hub method expects 2.`));
      assert.ok((await failure(c.invoke("Nothing", upload([])))).endsWith(`${generic("Nothing")} HubException: Client sent 1 stream(s), Hub method expects 0.`));
      await settled(c);
    });

    test("U-08 U-10 other calls go on while five hundred items are uploaded", { skip: lacks.streams }, async (t) => {
      const c = await client(t);
      const subject = new Subject();
      const sum = c.invoke("Sum", subject, 0);
      assert.equal(await c.invoke("Add", 1, 1), 2);
      for (const n of numbers(500)) subject.next(n);
      assert.equal(await c.invoke("Add", 1, 2), 3);
      subject.complete();
      assert.equal(await sum, 124_750);
    });

    test("U-09 items after the method has returned are ignored", { skip: lacks.streams || lacks.earlyAnswers }, async (t) => {
      const c = await client(t);
      const subject = new Subject();
      const first = c.invoke("First", subject);
      subject.next(7);
      assert.equal(await first, 7);
      subject.next(8);
      subject.complete();
      await settled(c);
      await c.send("Nothing"); // written behind the rest: a write that the end of the client cuts off is a rejection that nobody handles
    });

    test("C-01 C-05 a hub and what is outside of it get answers of clients", async (t) => {
      const [c, asker] = [await client(t), await client(t)];
      c.on("question", async (n) => `answer ${n}`);
      assert.equal(await asker.invoke("Ask", c.connectionId, "question", 1), "answer 1");
      assert.equal(await c.invoke("Ask", c.connectionId, "question", 2), "answer 2");
      assert.equal(await asker.invoke("AskOutside", c.connectionId, "question", 3), "answer 3");
    });

    test("C-02 C-03 C-11 answers that are errors, missing or of the wrong type", async (t) => {
      const c = await client(t);
      c.on("throws", () => Promise.reject(new Error("from callback")));
      c.on("silent", () => {});
      c.on("number", () => 12);
      const ask = (method) => failure(c.invoke("Ask", c.connectionId, method, 0));
      assert.match(await ask("throws"), /HubException: Error: from callback$/);
      assert.match(await ask("nobody"), /HubException: Client didn't provide a result\.$/);
      assert.match(await ask("silent"), /HubException: Client didn't provide a result\.$/);
      assert.match(await ask("number"), /HubException: Error trying to deserialize result to string\. /);
    });

    test("C-04 while a client thinks, its other messages are handled", { skip: lacks.freedom }, async (t) => {
      const c = await client(t);
      let answer;
      const asked = new Promise((asks) => c.on("question", () => new Promise((done) => asks((answer = done)))));
      const result = c.invoke("Ask", c.connectionId, "question", 0);
      await asked;
      assert.equal(await c.invoke("Add", 1, 1), 2);
      answer("late");
      assert.equal(await result, "late");
    });

    test("C-06 C-07 C-09 who isn't there can't answer, nor can many", async (t) => {
      const [c, asker] = [await client(t), await client(t)];
      assert.match(await failure(asker.invoke("Ask", "nobody", "question", 0)), /HubException: Connection 'nobody' does not exist\.$/);
      assert.match(await failure(asker.invoke("AskGroup", "team")), /HubException: InvokeAsync only works with Single clients\.$/);
      const id = c.connectionId;
      const asked = new Promise((asks) => c.on("question", () => new Promise(asks)));
      const answer = failure(asker.invoke("Ask", id, "question", 0));
      await asked;
      await c.stop();
      assert.ok((await answer).endsWith(`HubException: Connection '${id}' disconnected.`));
    });
  });
}

test("S-05 a cancelled stream completes without an error and without more items", { skip: lacks.streams }, async (t) => {
  const socket = await shake(t, `${url}/hub`);
  const name = unique("raw");
  socket.send({ type: 4, invocationId: "s", target: "Endless", arguments: [name] });
  for (const item of [0, 1, 2]) assert.deepEqual(await socket.next(), { type: 2, invocationId: "s", item });
  socket.send({ type: 5, invocationId: "s" });
  assert.deepEqual(await socket.next(), { type: 3, invocationId: "s" });
});

test("S-07 a cancel of nothing is ignored", async (t) => {
  const socket = await shake(t, `${url}/hub`);
  socket.send({ type: 5, invocationId: "nothing" });
  assert.equal((await call(socket, { target: "Add", arguments: [1, 1] })).result, 2);
});

test("S-08 an invocation id that a stream uses is refused to another", { skip: lacks.streams }, async (t) => {
  const socket = await shake(t, `${url}/hub`);
  const stream = { type: 4, invocationId: "s", target: "Endless", arguments: [unique("twice")] };
  socket.send(stream);
  await socket.next(({ item }) => item === 2);
  socket.send(stream);
  assert.deepEqual(await socket.next(), { type: 3, invocationId: "s", error: "Invocation ID 's' is already in use." });
});

test("U-06 what belongs to no upload is ignored", async (t) => {
  const socket = await shake(t, `${url}/hub`);
  socket.send({ type: 2, invocationId: "nothing", item: 1 }, { type: 3, invocationId: "nothing" }, { type: 3, invocationId: "other", error: "x" });
  assert.equal((await call(socket, { target: "Add", arguments: [1, 1] })).result, 2);
});

test("C-01 C-08 an answer counts from the client that was asked only, and once", async (t) => {
  const [asked, asker, stranger] = [await shake(t, `${url}/hub`), await shake(t, `${url}/hub`), await shake(t, `${url}/hub`)];
  asker.send({ type: 1, invocationId: "ask", target: "Ask", arguments: [asked.id, "question", 5] });
  const { invocationId, ...question } = await asked.next();
  assert.deepEqual(question, { type: 1, target: "question", arguments: [5] });
  for (const socket of [asker, stranger]) socket.send({ type: 3, invocationId, result: "forged" });
  assert.match((await call(stranger, { target: "NoSuchMethod", arguments: [] })).error, /invok(e|ing) 'NoSuchMethod' .*on the server\. HubException: Method does not exist\.$/);
  asked.send({ type: 3, invocationId, result: "mine" }, { type: 3, invocationId, result: "again" });
  assert.deepEqual(await asker.next(), { type: 3, invocationId: "ask", result: "mine" });
  assert.equal((await call(asked, { target: "Add", arguments: [1, 1] })).result, 2);
});

test("C-10 E-08 in OnConnected no client can be asked, and its error ends the connection", { skip: lacks.onConnected }, async (t) => {
  const { error: refusal } = await closing(t, "/detailed?connected=asks");
  assert.equal(refusal, "Connection closed with an error. InvalidOperationException: Client results inside OnConnectedAsync Hub methods are not allowed.");
  assert.deepEqual(await closing(t, "/detailed?connected=fails"), { type: 7, error: "Connection closed with an error. Exception: not today" });
  assert.deepEqual(await closing(t, "/hub?connected=fails"), { type: 7, error: "Connection closed with an error." });
});

/** The Close message that a client gets which connects there. */
async function closing(t, path) {
  const [at, query] = path.split("?");
  const socket = await dialed(t, url + at, query);
  socket.send({ protocol: "json", version: 1 });
  return socket.next(({ type }) => type === 7);
}
