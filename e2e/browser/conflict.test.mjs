// Two people change one hub at the same time, in real browsers: the second is told,
// and nothing of the first's change is lost.
import assert from "node:assert/strict";
import { test } from "node:test";

import { call, signUp } from "../account.mjs";
import { assertAccessible, assertQuiet, launch, open, picture } from "../browser.mjs";
import { stack } from "../stack.mjs";

const { console_url: url } = await stack();

test("who saves over somebody else's change is told, and sees it", async (t) => {
  const owner = await signUp(url);
  const { slug } = owner.signUp.tenant;
  const hubs = `${url}/tenants/${slug}/hubs`;
  const browser = await launch(t);
  const options = { viewport: { width: 1440, height: 900 }, colorScheme: "light", reducedMotion: "reduce" };

  const edit = async () => {
    const page = await open(t, browser, `${url}/sign-in?next=${new URL(hubs).pathname}`, options);
    await page.getByLabel("Email").fill(owner.email);
    await page.getByLabel("Password", { exact: true }).fill(owner.password);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.getByRole("button", { name: "Edit chat" }).click();
    const dialog = page.getByRole("dialog", { name: "Edit chat" });
    await dialog.getByLabel("Keep-alive").waitFor();
    return { page, dialog };
  };
  const first = await edit();
  const second = await edit();

  await first.dialog.getByLabel("Keep-alive").fill("21");
  await first.dialog.getByLabel("Client timeout").fill("63");
  await first.dialog.getByRole("button", { name: "Save hub" }).click();
  await first.dialog.waitFor({ state: "detached" });

  await second.dialog.getByLabel("Keep-alive").fill("12");
  await second.dialog.getByRole("button", { name: "Save hub" }).click();
  await second.dialog.getByRole("alert").getByText("Somebody else changed this hub while you edited it").waitFor();
  await assertAccessible(second.page, "conflict");
  await picture(second.page, "conflict");
  await second.dialog.getByRole("button", { name: "Show what is there now" }).click();
  await second.page.waitForFunction(
    (label) => [...document.querySelectorAll("input")].some((input) => input.labels?.[0]?.textContent === label && input.value === "21 s"),
    "Keep-alive",
  );
  await second.dialog.getByLabel("Client timeout").fill("64");
  await second.dialog.getByRole("button", { name: "Save hub" }).click();
  await second.dialog.waitFor({ state: "detached" });

  const { body: hub } = await call(url, owner.session, "GET", `/v1/tenants/${slug}/hubs/chat`);
  assertQuiet(first.page, /401/); // "who is signed in", asked before signing in
  assertQuiet(second.page, /401|412/);
  assert.deepEqual([hub.keep_alive_seconds, hub.client_timeout_seconds], [21, 64]);
});
