// The Limits page: a value of one's own refuses, which is shown, and goes away again.
// And the plan's change, which is on the Usage page.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";

import { call } from "../account.mjs";
import { assertAccessible, assertQuiet, launch, open, picture } from "../browser.mjs";
import { eventually, rest } from "../service.mjs";
import { stack } from "../stack.mjs";

const { console_url: url, service_url: front } = await stack();

test("a limit is lowered, refuses, is seen to, and is put back; the plan is changed", async (t) => {
  const browser = await launch(t);
  const page = await open(t, browser, `${url}/sign-up`);
  await page.getByLabel("Email").fill(`e2e-${randomBytes(6).toString("hex")}@example.com`);
  await page.getByLabel("Password", { exact: true }).fill(randomBytes(12).toString("hex"));
  await page.getByRole("button", { name: "Create account" }).click();
  await page.getByRole("heading", { name: "Quick start" }).waitFor();
  const slug = new URL(page.url()).pathname.split("/")[2];
  const nav = page.getByRole("navigation", { name: "Console" });
  const cookie = (await page.context().cookies()).map(({ name, value }) => `${name}=${value}`).join("; ");
  const { body: key } = await call(url, { cookie }, "POST", `/v1/tenants/${slug}/keys/primary/regenerate`);
  const tenant = { slug, access_key: key.secret };

  await nav.getByRole("link", { name: "Limits" }).click();
  const row = page.getByRole("row").filter({ hasText: "messages_per_second" });
  await row.getByRole("cell", { name: "100 messages/s" }).waitFor();
  assert.equal(await page.getByRole("row").filter({ hasText: "max_connections_per_ip" }).getByText("on each edge by itself").count(), 1);
  await assertAccessible(page, "the limits page");
  const change = async (name, value) => {
    await page.getByRole("button", { name: `Change ${name}` }).click();
    await page.getByRole("dialog").getByLabel(/^Value/).fill(value);
    await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
    await page.getByRole("dialog").waitFor({ state: "detached" });
  };
  await change("accepted messages per second", "1");
  await change("burst of accepted messages", "1");
  await row.getByText("Override").waitFor();
  await eventually(async () => {
    const answers = await Promise.all([0, 1, 2].map(() => rest(front, tenant, "POST", "/hubs/chat", { target: "message", arguments: [] })));
    return answers.some(({ status }) => status === 429);
  }, "a refusal");
  await row.getByRole("link", { name: "rate_limited" }).waitFor();
  await picture(page, "limits-refused");
  await page.getByRole("button", { name: "Change accepted messages per second" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Use the plan's value" }).click();
  await row.getByText("Override").waitFor({ state: "detached" });

  await nav.getByRole("link", { name: "Usage" }).click();
  await page.getByRole("combobox", { name: "Change to" }).click();
  await page.getByRole("option", { name: "Pro" }).click();
  await page.getByRole("button", { name: "Change plan" }).click();
  await page.getByText(/^Pro since/).waitFor();
  await nav.getByRole("link", { name: "Limits" }).click();
  await row.getByRole("cell", { name: "2,000 messages/s" }).waitFor();
  assertQuiet(page);
});
