// What a stock client learns of calls that its tenant's limits refuse: completions for
// those that wait for an answer, $limit for those that don't.
import assert from "node:assert/strict";
import { test } from "node:test";

import { call, signUp } from "../account.mjs";
import { connect, eventually } from "../service.mjs";
import { stack } from "../stack.mjs";

const { api_url: api, edge_urls: edges } = await stack();

test("$limit tells of refused calls that nobody waits for", async (t) => {
  const { tenant, session } = await signUp(api);
  for (const limit of ["calls_per_second", "call_burst"]) {
    await call(api, session, "PUT", `/v1/tenants/${tenant.slug}/limits/${limit}`, { max: 1 });
  }
  const kinds = [["WebSockets", "json"], ["WebSockets", "messagepack"], ["ServerSentEvents", "json"], ["LongPolling", "messagepack"]];
  await Promise.all(kinds.map(async ([transport, protocol], i) => {
    const client = await connect(t, edges[i % 2], tenant, { transport, protocol, targets: ["$limit"] });
    const told = () => client.received.map(({ args }) => args[0]).filter(({ limit }) => limit === "calls_per_second");
    // The limit may not be in force for the first of them.
    await eventually(async () => {
      for (let n = 0; n < 3; n++) await client.connection.send("say", n);
      return told().length > 0;
    }, `${transport} with ${protocol} to be told`);
    const [{ code, scope, max, burst, retry_after_ms: retry, doc }] = told();
    assert.deepEqual({ code, scope, max, burst, doc }, { code: "call_rate", scope: "connection", max: 1, burst: 1, doc: "https://signalbox.dev/docs/errors/call_rate" });
    assert.ok(retry > 0, `retry_after_ms is ${retry}`);
  }));

  const { body } = await call(api, session, "GET", `/v1/tenants/${tenant.slug}/limits`);
  const shown = new Map(body.limits.map((limit) => [limit.limit, limit]));
  assert.equal(shown.get("calls_per_second").max, 1);
  await eventually(async () => {
    const { body: now } = await call(api, session, "GET", `/v1/tenants/${tenant.slug}/limits`);
    return now.limits.find(({ limit }) => limit === "calls_per_second").refused >= kinds.length;
  }, "the refusals to be counted");
});
