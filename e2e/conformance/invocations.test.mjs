// What a hub method and its caller see of each other, over every transport and
// protocol. Test names begin with the ids of catalogue.tsv.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { matrix } from "../service.mjs";
import { build, call, collect, connect, failure, hidden, inbox, lacks, shake, startHub, unique } from "./hub.mjs";

const url = await startHub();
const generic = (method) => `An unexpected error occurred invoking '${method}' on the server.`;
const refused = (method) => `Failed to invoke '${method}' due to an error on the server.`;

for (const [transport, protocol] of matrix) {
  const how = { transport, protocol };
  const client = (t, path = "/hub") => connect(t, url + path, how);

  describe(`${transport}, ${protocol}`, () => {
    test("I-01 I-03 I-09 invocations are answered with their values, null included", async (t) => {
      const c = await client(t);
      assert.equal(await c.invoke("Add", 2, 3), 5);
      assert.equal(await c.invoke("Nothing"), null);
      for (const value of ["", "æøå 漢字 😀 \u0000 \u2028", null, true, -1.5, 9007199254740991, { list: [1, [], { empty: {} }] }]) {
        assert.deepEqual(await c.invoke("Echo", value), value);
      }
    });

    test("I-10 M-08 M-09 bytes, dates, integers and maps go through a typed method", async (t) => {
      const c = await client(t);
      const born = new Date("2026-02-03T04:05:06.789Z");
      const photo = Uint8Array.from([0, 1, 254, 255]);
      const binary = protocol === "messagepack" && !lacks.binary;
      const value = { name: "Åsa", born, photo: binary ? photo : Buffer.from(photo).toString("base64"), sizes: [-1, 0, 2147483647], tags: { deep: { list: [1.5, "two"] } } };
      const back = await c.invoke("Typed", value);
      assert.deepEqual(back, { ...value, born: binary ? born : born.toISOString(), photo: binary ? new Uint8Array(back.photo) : value.photo });
      if (binary) assert.deepEqual(new Uint8Array(back.photo), photo);
    });

    test("I-02 a send is never answered, and its method runs", async (t) => {
      const c = await client(t);
      const name = unique("told");
      await c.send("Tell", name, "sent");
      await c.send("Fail");
      await c.send("NoSuchMethod");
      assert.equal(await c.invoke("Await", name), "sent");
    });

    test("I-04 I-05 I-06 I-18 methods are found in any case and by their outward name only", async (t) => {
      const c = await client(t);
      assert.equal(await c.invoke("aDD", 1, 1), 2);
      assert.equal(await c.invoke("renamed"), "renamed");
      for (const name of ["Old", "Secret", "OnConnected", "OnDisconnected", "String", "nO_sUcH"]) {
        assert.match(await failure(c.invoke(name)), new RegExp(`invok(e|ing) '${name}' .*on the server. HubException: Method does not exist.$`));
      }
      assert.equal(await c.invoke("Add", 1, 1), 2);
    });

    test("I-07 I-08 M-07 arguments that do not fit fail the invocation alone", async (t) => {
      const c = await client(t);
      for (const args of [[], [1], [1, 2, 3], ["x", {}]]) assert.ok((await failure(c.invoke("Add", ...args))).endsWith(refused("Add")));
      const d = await client(t, "/detailed");
      assert.match(await failure(d.invoke("Add", 1)), /InvalidDataException: Invocation provides 1 argument\(s\) but target expects 2\.$/);
      assert.match(await failure(d.invoke("Add", 1, [])), /InvalidDataException: Error binding arguments\. Make sure that the types of the provided values match the types of the hub method being invoked\.$/);
      assert.equal(await d.invoke("Add", 1, 1), 2);
    });

    test("I-11 invocations of one client run one after the other", async (t) => {
      const [c, other] = [await client(t), await client(t)];
      const [one, two] = [unique("first"), unique("second")];
      const answers = [c.invoke("Enter", one), c.invoke("Enter", two)];
      assert.equal(await other.invoke("Await", `${one} begun`), one);
      await other.invoke("Tell", two, "2"); // it would end now if it ran
      await other.invoke("Tell", one, "1");
      assert.deepEqual(await Promise.all(answers), ["1", "2"]);
    });

    test("I-13 a hundred invocations at once get their own results", async (t) => {
      const c = await client(t);
      const numbers = Array.from({ length: 100 }, (_, i) => i);
      assert.deepEqual(await Promise.all(numbers.map((i) => c.invoke("Add", i, 1000))), numbers.map((i) => i + 1000));
    });

    test("I-14 P-08 five hundred pushes come once each, in order, before the result", async (t) => {
      const c = await client(t);
      const pushes = inbox(c, "push");
      assert.equal(await c.invoke("Pushes", 500), 500);
      assert.deepEqual(pushes.received, Array.from({ length: 500 }, (_, i) => i));
    });

    test("I-15 T-18 a large result comes whole", async (t) => {
      const c = await client(t);
      const text = await c.invoke("Large", 200_000);
      assert.equal(text, "0123456789".repeat(20_000));
    });

    test("I-16 E-11 invocations that wait when the connection ends fail", { skip: lacks.streams }, async (t) => {
      const c = await client(t);
      const closed = new Promise((done) => c.onclose(done));
      const waiting = failure(collect(c.stream("Endless", unique("endless"))).then(({ error }) => Promise.reject(error)));
      await c.invoke("Add", 1, 1);
      await failure(c.invoke("Abort"));
      assert.match(await waiting, /Invocation canceled due to the underlying connection being closed\./);
      await closed;
      assert.equal(c.connectionId, null);
    });

    test("I-17 a method that is forbidden to the user", async (t) => {
      const c = await client(t);
      assert.ok((await failure(c.invoke("Forbidden"))).endsWith("Failed to invoke 'Forbidden' because user is unauthorized"));
    });

    test("E-01 E-02 E-03 only safe errors are told, and the connection lives", async (t) => {
      const c = await client(t);
      assert.ok((await failure(c.invoke("Fail"))).endsWith(hidden("Fail")));
      assert.ok((await failure(c.invoke("Panic"))).endsWith(hidden("Panic")));
      assert.ok((await failure(c.invoke("FailSafely"))).endsWith(`${generic("FailSafely")} HubException: told`));
      const d = await client(t, "/detailed");
      assert.match(await failure(d.invoke("Fail")), /on the server\. (HubException: )?Exception: secret$/);
      assert.equal(await c.invoke("Add", 1, 1), 2);
    });

    test("E-14 a result that can't be written is an error, and the connection lives", async (t) => {
      const c = await client(t);
      for (const name of ["Unsendable", "Unsendables"]) assert.ok((await failure(c.invoke(name))).endsWith(hidden(name)));
      assert.equal(await c.invoke("Add", 1, 1), 2);
    });
  });
}

test("I-01 any text is an invocation id", async (t) => {
  const socket = await shake(t, `${url}/hub`);
  for (const invocationId of ["0", "a b", "漢字", "x".repeat(100)]) {
    const answer = await call(socket, { invocationId, target: "Echo", arguments: [1] });
    assert.deepEqual(answer, { type: 3, invocationId, result: 1 });
  }
});

test("P-09 a push that no handler waits for is ignored by the client", async (t) => {
  const warnings = [];
  const c = build(`${url}/hub`, { log: { log: (level, text) => level === 3 && warnings.push(text) } });
  t.after(() => c.stop());
  await c.start();
  assert.equal(await c.invoke("Pushes", 1), 1);
  assert.ok(warnings.some((text) => /No client method with the name 'push' found/.test(text)), warnings.join("\n"));
});
