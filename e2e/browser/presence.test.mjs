// Who is present in a group, on the console's page of hubs: members with state and
// counts, live, while clients come, change and leave.
import assert from "node:assert/strict";
import { test } from "node:test";

import { signUp } from "../account.mjs";
import { assertAccessible, assertQuiet, launch, open, picture } from "../browser.mjs";
import { clientToken, connect } from "../service.mjs";
import { stack } from "../stack.mjs";

const { console_url: url, api_url: api, edge_urls: edges } = await stack();
const group = "room-7";

test("members of a group are shown with their state, and as they come and go", async (t) => {
  const { email, password, tenant } = await signUp(api);
  const member = (edge, user) => {
    const token = clientToken(tenant, { hub: "chat", user, "sbx.permissions": ["joinGroup"], "sbx.groups": group });
    return connect(t, edges[edge], tenant, { hub: "chat", token });
  };
  const ann = await member(0, "ann");
  const twice = await member(1, "ann");
  const set = (client, state) => client.connection.invoke("$setPresence", group, state);
  await set(ann, { typing: false });
  await set(twice, { typing: false });

  const browser = await launch(t);
  const page = await open(t, browser, `${url}/sign-in`);
  await page.getByLabel("Email").fill(email);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL((address) => !address.pathname.startsWith("/sign-in"));
  await page.goto(`${url}/tenants/${tenant.slug}/hubs`);
  await page.getByLabel("Group").fill(group);
  await page.getByRole("button", { name: "Watch" }).click();
  const status = (text) => page.getByRole("status").filter({ hasText: text }).waitFor();
  await status("Live · 2 members · 1 user");
  const members = page.getByRole("table", { name: `Members of ${group}` });
  const row = (client) => members.getByRole("row").filter({ hasText: client.id });
  await row(ann).getByText('{"typing":false}', { exact: true }).waitFor();
  await row(twice).getByRole("cell", { name: "ann", exact: true }).waitFor();

  // Whatever happens is there without a click.
  await set(ann, { typing: true });
  await row(ann).getByText('{"typing":true}', { exact: true }).waitFor();
  const ben = await member(2, "ben");
  await set(ben, "here");
  await status("Live · 3 members · 2 users");
  await row(ben).getByText('"here"').waitFor();
  await assertAccessible(page, "the page of hubs with a group's members");
  await picture(page, "hub-presence");
  await twice.stop();
  await ben.connection.invoke("$clearPresence", group);
  await status("Live · 1 member · 1 user");
  assert.equal(await row(ben).count(), 0);

  await page.getByRole("button", { name: "Stop watching" }).click();
  await status("Not watching");
  assert.equal(await row(ann).count(), 0);
  assertQuiet(page, /401/); // "who is signed in", asked before signing in
});
