// MessagePack byte by byte: framing, the layout of every message, and what is
// wrong with some.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Socket, startHub } from "./hub.mjs";
import { frame, parse } from "./messagepack.mjs";

const url = await startHub();

/** A WebSocket that speaks MessagePack. */
async function speak(t, path = "/hub") {
  const socket = new Socket(t, url + path);
  await socket.opened;
  socket.send('{"protocol":"messagepack","version":1}\u001e');
  await socket.next();
  const waiting = [];
  return {
    socket,
    send: (...frames) => socket.socket.send(Buffer.concat(frames)),
    async next() {
      while (waiting.length === 0) waiting.push(...parse(await socket.next()));
      return waiting.shift();
    },
  };
}

const add = (id, ...args) => frame(1, {}, id, "Add", args);

test("M-01 M-10 several messages in a frame, one over several, lengths of two bytes", async (t) => {
  const { send, next } = await speak(t);
  send(add("1", 1, 1), add("2", 2, 2));
  assert.deepEqual([await next(), await next()], [[3, {}, "1", 3, 2], [3, {}, "2", 3, 4]]);
  const text = "x".repeat(300);
  const long = frame(1, {}, "3", "Echo", [text]);
  for (const cut of [0, 1, 2, 40]) send(long.subarray(cut, { 0: 1, 1: 2, 2: 40 }[cut] ?? long.length));
  assert.deepEqual(await next(), [3, {}, "3", 3, text]);
});

test("M-02 M-04 P-02 invocations and completions: a value, nothing, an error", async (t) => {
  const { send, next } = await speak(t);
  send(frame(1, {}, "1", "Echo", [{ a: 1 }], []));
  assert.deepEqual(await next(), [3, {}, "1", 3, { a: 1 }]);
  send(frame(1, { header: "kept" }, "2", "Nothing", []));
  const [type, , id, kind, result] = await next();
  assert.deepEqual([type, id, [2, 3].includes(kind), result ?? null], [3, "2", true, null]);
  send(frame(1, {}, "3", "FailSafely", []));
  assert.deepEqual(await next(), [3, {}, "3", 1, "An unexpected error occurred invoking 'FailSafely' on the server. HubException: told"]);
  send(frame(1, {}, null, "Pushes", [1]));
  assert.deepEqual(await next(), [1, {}, null, "push", [0], []]);
});

test("M-03 stream invocations, items, cancels, pings and Close", async (t) => {
  const { send, next: any, socket } = await speak(t, "/brief");
  const next = async () => {
    for (;;) {
      const message = await any();
      if (message[0] !== 6) return message; // a ping comes whenever there was silence
    }
  };
  send(frame(4, {}, "s", "Count", [2], []));
  assert.deepEqual([await next(), await next(), await next()], [[2, {}, "s", 0], [2, {}, "s", 1], [3, {}, "s", 2]]);
  send(frame(4, {}, "e", "Endless", ["messagepack"], []));
  assert.deepEqual([await next(), await next(), await next()], [[2, {}, "e", 0], [2, {}, "e", 1], [2, {}, "e", 2]]);
  send(frame(5, {}, "e"));
  assert.deepEqual(await next(), [3, {}, "e", 2]);
  assert.deepEqual(await any(), [6]);
  send(frame(1, {}, null, "Close", ["done", true]));
  assert.deepEqual(await next(), [7, "done", true]);
  assert.equal(await socket.end(), 1000);
});

test("M-05 further elements are passed over", async (t) => {
  const { send, next } = await speak(t);
  send(frame(1, {}, "1", "Add", [1, 1], [], "later", { x: 1 }), frame(6, "later"), frame(5, {}, "nothing", 0));
  assert.deepEqual(await next(), [3, {}, "1", 3, 2]);
});

test("M-06 what is no message ends the connection", async (t) => {
  for (const elements of [["1"], [1, "no map", "1", "Add", []], [1, {}, 7, "Add", []], [3, {}, "1", 9]]) {
    const { send, next, socket } = await speak(t);
    send(frame(...elements));
    assert.deepEqual(await next(), [7, "Connection closed with an error.", false]);
    await socket.end();
  }
  const { send, next } = await speak(t, "/detailed");
  send(frame("1"));
  assert.equal((await next())[1], "Connection closed with an error. InvalidDataException: Reading 'messageType' as Int32 failed.");
});

test("M-07 arguments that are missing, too few or of the wrong type fail the invocation alone", async (t) => {
  const { send, next } = await speak(t);
  for (const args of [[], [1], [1, "two"], "no array"]) {
    send(frame(1, {}, "1", "Add", args));
    assert.deepEqual(await next(), [3, {}, "1", 1, "Failed to invoke 'Add' due to an error on the server."]);
  }
  send(add("2", 1, 1));
  assert.deepEqual(await next(), [3, {}, "2", 3, 2]);
});

test("M-08 M-09 dates, bytes and integers of every width go through", async (t) => {
  const { send, next } = await speak(t);
  const values = [new Date(0), new Date("2026-02-03T04:05:06.789Z"), Uint8Array.from([0, 255]), 0, 127, 128, 65_536, 4_294_967_296, -1, -129, -65_537, 0.1, { deep: [null, true] }];
  send(frame(1, {}, "1", "Echo", [values]));
  const [, , , , back] = await next();
  assert.deepEqual(back, values);
});
