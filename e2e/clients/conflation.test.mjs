// The newest of each key for the official client, over every transport and protocol:
// history first where it is asked for, then values that replace each other.
import assert from "node:assert/strict";
import { test } from "node:test";

import { clientToken, connect, matrix, publish } from "../service.mjs";
import { stack } from "../stack.mjs";

const { edge_urls: edges, tenants: [demo] } = await stack();
const hub = "conflation";
const symbols = ["A", "B"];
const rounds = 25;
const everyMs = 10_000;

/** Values of each symbol go up, and end with the last. */
function ascend(values, last, what) {
  for (const symbol of symbols) {
    const own = values.filter(([of]) => of === symbol).map(([, n]) => n);
    for (let i = 1; i < own.length; i++) assert.ok(own[i] > own[i - 1], `${what}: ${symbol} ${own[i]} came behind ${own[i - 1]}`);
    assert.equal(own.at(-1), last, `${what}: the newest of ${symbol}`);
  }
}

test("the newest of each key over every transport and protocol, behind what was missed", async (t) => {
  const kinds = await Promise.all(
    matrix.map(async ([transport, protocol], i) => {
      const token = clientToken(demo, { hub, user: `u${i}`, "sbx.permissions": ["joinGroup", "leaveGroup", "readHistory"] });
      const client = await connect(t, edges[i % edges.length], demo, { hub, token, transport, protocol, targets: ["price"] });
      return { name: `${transport} ${protocol}`, client, group: `prices-${i}`, values: () => client.received.map(({ args }) => args) };
    }),
  );
  const send = (group, symbol, n) => publish(edges[n % edges.length], demo, `/hubs/${hub}/groups/${group}`, "price", symbol, n);
  await Promise.all(
    kinds.map(async ({ name, client, group, values }) => {
      for (let n = 1; n <= 3; n++) for (const symbol of symbols) await send(group, symbol, n);
      const joined = await client.connection.invoke("$joinGroup", group, { rewind: { last: 4 }, conflate: { everyMs, key: 0 } });
      assert.equal(joined.messages, 4, name);
      assert.deepEqual(values(), [["A", 2], ["B", 2], ["A", 3], ["B", 3]], `${name}: what was missed comes whole`);

      const began = Date.now();
      for (let n = 4; n < 4 + rounds; n++) for (const symbol of symbols) await send(group, symbol, n);
      await client.connection.invoke("$leaveGroup", group); // what waits comes first
      const live = values().slice(4);
      ascend(live, 3 + rounds, name);
      // The first at once, the last with the leave, and one each time the clock came round.
      const most = symbols.length * (2 + Math.floor((Date.now() - began) / (everyMs - 100)));
      assert.ok(live.length <= most, `${name}: ${live.length} of ${rounds * symbols.length} values, at most ${most} expected`);

      // By the clock alone, with nothing that pushes.
      await client.connection.invoke("$joinGroup", group, { conflate: { everyMs: 50, key: 0 } });
      const before = client.received.length;
      for (let n = 100; n < 100 + rounds; n++) for (const symbol of symbols) await send(group, symbol, n);
      for (const symbol of symbols) await client.message(({ args }) => args[0] === symbol && args[1] === 99 + rounds, `${name}: the newest of ${symbol}`);
      ascend(values().slice(before), 99 + rounds, name);
    }),
  );
});
