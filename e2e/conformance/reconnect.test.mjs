// Stateful reconnect: the socket is cut, and the official client goes on as if
// nothing had happened.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Subject } from "@microsoft/signalr";

import { within } from "../service.mjs";
import { behind, connect, inbox, lacks, line, negotiate, Socket, startHub, unique } from "./hub.mjs";
import { frame, parse } from "./messagepack.mjs";

const url = await startHub();
const numbers = (count) => Array.from({ length: count }, (_, i) => i);

/** A client over a line, that has noticed nothing when the test ends. */
async function client(t, protocol) {
  const way = await line(t, url, "/stateful");
  const c = await connect(t, way.url, { protocol, stateful: true, reconnect: [0, 100], options: way.options });
  const noticed = [];
  c.onclose((error) => noticed.push(`closed: ${error}`));
  c.onreconnecting((error) => noticed.push(`reconnecting: ${error}`));
  const id = c.connectionId;
  const unnoticed = async () => {
    for (const n of numbers(3)) assert.equal(await c.invoke("Add", n, 1), n + 1);
    assert.deepEqual([noticed, c.connectionId], [[], id]);
    assert.ok(way.sockets() > 1, "no cut has cost the client its socket");
  };
  return { c, ...way, unnoticed };
}

for (const protocol of ["json", "messagepack"]) {
  describe(protocol, () => {
    test("N-11 R-01 R-04 R-06 R-07 R-15 a stream from the server goes on over cuts in its middle", { skip: lacks.streams }, async (t) => {
      const { c, cut, cuts, unnoticed } = await client(t, protocol);
      const items = [];
      const done = new Promise((complete, error) =>
        c.stream("Count", 6_000).subscribe({
          next(n) {
            items.push(n);
            if (n % 2_000 === 1_000) cut();
          },
          complete,
          error,
        }),
      );
      await within(done, "the stream's end");
      assert.deepEqual(items, numbers(6_000));
      assert.equal(cuts(), 3);
      await unnoticed();
    });

    test("R-06 R-07 R-15 an upload and its answer survive cuts", { skip: lacks.streams }, async (t) => {
      const { c, cut, unnoticed } = await client(t, protocol);
      const subject = new Subject();
      const sum = c.invoke("Sum", subject, 0);
      for (const n of numbers(3_000)) {
        if (n % 1_000 === 500) {
          assert.equal(await c.invoke("Add", n, 1), n + 1);
          cut();
        }
        subject.next(n);
      }
      subject.complete();
      assert.equal(await within(sum, "the sum"), 4_498_500);
      await unnoticed();
    });

    test("C-01 G-01 R-15 R-18 groups, pushes meanwhile and an open question survive a cut", async (t) => {
      const { c, cut, unnoticed } = await client(t, protocol);
      const observer = await connect(t, `${url}/stateful`);
      const team = unique("team");
      await c.invoke("Join", team);
      const news = inbox(c, "news");
      let answer;
      const asked = new Promise((asks) => c.on("question", () => new Promise((done) => asks((answer = done)))));
      const told = observer.invoke("Ask", c.connectionId, "question", 1);
      await asked;
      cut();
      const other = await connect(t, `${url}/stateful`);
      for (const n of numbers(10)) await other.invoke("Send", "group", [team], "news", n);
      assert.deepEqual(await news.of(10), numbers(10));
      answer("over another socket");
      assert.equal(await within(told, "the answer"), "over another socket");
      await unnoticed();
    });
  });
}

const negotiated = { skip: behind !== "" && "what the service answers to negotiate and on its sockets is in ../clients/stateful.test.mjs" };

test("N-11 R-01 other transports have none, and do not need to know", negotiated, async (t) => {
  for (const transport of ["ServerSentEvents", "LongPolling"]) {
    const c = await connect(t, `${url}/stateful`, { transport, stateful: true });
    assert.equal(await c.invoke("Add", 1, 1), 2);
  }
  assert.equal((await negotiate(`${url}/stateful`, "negotiateVersion=1&UseStatefulReconnect=true")).useStatefulReconnect, true);
  assert.equal((await negotiate(`${url}/hub`, "negotiateVersion=1&useStatefulReconnect=true")).useStatefulReconnect, undefined);
});

test("R-03 R-05 R-17 acknowledgement and sequence are arrays of two numbers in MessagePack", negotiated, async (t) => {
  const { connectionToken } = await negotiate(`${url}/stateful`, "negotiateVersion=1&useStatefulReconnect=true");
  const at = `${url}/stateful?id=${connectionToken}`;
  const first = new Socket(t, at);
  await first.opened;
  first.send('{"protocol":"messagepack","version":2}\u001e');
  await first.next();
  first.socket.send(frame(1, {}, "1", "Add", [1, 2]));
  const seen = [];
  while (seen.length < 2) seen.push(...parse(await first.next()));
  assert.deepEqual(seen, [[3, {}, "1", 3, 3], [8, 1]]);
  first.socket.terminate();
  const second = new Socket(t, at);
  await second.opened;
  second.socket.send(Buffer.concat([frame(9, 2), frame(1, {}, "2", "Add", [3, 4])]));
  const again = [];
  while (again.length < 3) again.push(...parse(await second.next()));
  assert.deepEqual(again.slice(0, 3), [[9, 1], [3, {}, "1", 3, 3], [3, {}, "2", 3, 7]]);
});
