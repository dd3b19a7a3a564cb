// The official client over every transport and protocol receives what was
// published through another edge, and through a front without stickiness.
import assert from "node:assert/strict";
import { test } from "node:test";

import { connect, matrix, publish, rest } from "../service.mjs";
import { stack } from "../stack.mjs";

const { edge_urls: edges, service_url: front, tenants } = await stack();

/** Values that a careless path would change: order, depth, big and odd text. */
const values = ["text", 12.5, true, null, { nested: { list: [1, "two", null], empty: {} } }, "æøå 漢字 😀 \u0000 \u2028", 9007199254740991];

for (const tenant of tenants) {
  for (const [transport, protocol] of matrix) {
    const how = `${tenant.slug}: ${transport}, ${protocol}`;

    test(`${how}: receives what was published through the other edge`, async (t) => {
      for (const [here, there] of [edges, edges.toReversed()]) {
        const user = `user-${transport}-${protocol}`;
        const client = await connect(t, here, tenant, { transport, protocol, user });
        const path = `/hubs/${tenant.hub}`;
        await publish(there, tenant, path, "message", "to all", ...values);
        const { args } = await client.message(({ args: [kind] }) => kind === "to all", "the broadcast");
        assert.deepEqual(args.slice(1), values);

        await publish(there, tenant, `${path}/users/${user}`, "message", "to user");
        await client.message(({ args: [kind] }) => kind === "to user", "the message to the user");

        await publish(there, tenant, `${path}/connections/${client.id}`, "message", "to connection");
        await client.message(({ args: [kind] }) => kind === "to connection", "the message to the connection");

        const joined = await rest(there, tenant, "PUT", `${path}/groups/team/connections/${client.id}`);
        assert.ok(joined.ok, `join: ${joined.status}`);
        await publish(there, tenant, `${path}/groups/team`, "message", "to group");
        await client.message(({ args: [kind] }) => kind === "to group", "the message to the group");
        await client.stop();
      }
    });

    test(`${how}: works behind the round-robin front, in order`, async (t) => {
      const client = await connect(t, front, tenant, { transport, protocol, targets: ["ordered"] });
      const count = 40;
      for (let i = 0; i < count; i++) await publish(front, tenant, `/hubs/${tenant.hub}`, "ordered", client.id, i);
      await client.message(({ args: [id, i] }) => id === client.id && i === count - 1, "the last of the messages");
      const mine = client.received.filter(({ args: [id] }) => id === client.id).map(({ args: [, i] }) => i);
      assert.deepEqual(mine, Array.from({ length: count }, (_, i) => i));
    });

    test(`${how}: an invocation that nobody handles says what to set up`, async (t) => {
      const client = await connect(t, front, tenant, { transport, protocol });
      await assert.rejects(client.connection.invoke("Shout", "hello"), (error) => {
        assert.match(error.message, /no handler for invocations/);
        assert.match(error.message, /REST API/);
        return true;
      });
      // The connection lives on.
      await publish(front, tenant, `/hubs/${tenant.hub}/connections/${client.id}`, "message", "still here");
      await client.message(({ args: [text] }) => text === "still here", "a message after the refusal");
    });
  }
}

test("any number of clients of each transport connect through the front", async (t) => {
  // Their requests take turns over the edges in every possible way.
  for (let round = 0; round < 12; round++) {
    const hub = `crowd-${round}`;
    const clients = await Promise.all(
      ["WebSockets", "ServerSentEvents", "ServerSentEvents", "LongPolling", "LongPolling", "LongPolling"].map((transport) =>
        connect(t, front, tenants[0], { hub, transport }),
      ),
    );
    await publish(front, tenants[0], `/hubs/${hub}`, "message", round);
    await Promise.all(clients.map((client) => client.message(({ args: [i] }) => i === round, "the broadcast")));
    await Promise.all(clients.map((client) => client.stop()));
  }
});
