// A tenant's life in the console: renamed, its hub's settings changed and returned to,
// a domain added, suspended, resumed and deleted.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";

import { assertAccessible, assertQuiet, launch, open, picture } from "../browser.mjs";
import { stack } from "../stack.mjs";

const { console_url: url } = await stack();

test("a tenant is changed, returned to, suspended and deleted", async (t) => {
  const browser = await launch(t);
  const page = await open(t, browser, `${url}/sign-up`);
  await page.getByLabel("Email").fill(`e2e-${randomBytes(6).toString("hex")}@example.com`);
  await page.getByLabel("Password", { exact: true }).fill(randomBytes(12).toString("hex"));
  await page.getByRole("button", { name: "Create account" }).click();
  await page.getByRole("heading", { name: "Quick start" }).waitFor();
  const nav = page.getByRole("navigation", { name: "Console" });

  // Versions of a hub.
  await nav.getByRole("link", { name: "Hubs" }).click();
  await page.getByRole("button", { name: "Edit chat" }).click();
  await page.getByRole("dialog").getByLabel("Keep-alive").fill("7");
  await page.getByRole("dialog").getByRole("button", { name: "Save hub" }).click();
  await page.getByRole("cell", { name: "7 s" }).waitFor();
  await page.getByRole("button", { name: "Versions of chat" }).click();
  await page.getByRole("group", { name: "Version 1" }).getByRole("button", { name: "Compare" }).click();
  await page.getByRole("cell", { name: "keep_alive_seconds" }).waitFor();
  await picture(page, "hub-version-differences");
  await page.getByRole("button", { name: "Return to this version" }).click();
  await page.getByText("returning to version 1").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("cell", { name: "15 s" }).waitFor();

  // Settings.
  await nav.getByRole("link", { name: "Settings" }).click();
  await page.getByLabel("Name", { exact: true }).fill("Renamed");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Saved", { exact: true }).waitFor();
  await page.getByLabel("Domain", { exact: true }).fill("rt.example.invalid");
  await page.getByRole("button", { name: "Add domain" }).click();
  const domain = page.getByRole("group", { name: "rt.example.invalid" });
  await domain.getByText("_signalbox.rt.example.invalid").waitFor();
  await assertAccessible(page, "the settings page");
  await picture(page, "tenant-settings");
  await page.getByRole("button", { name: "Suspend", exact: true }).click();
  await page.getByRole("button", { name: "Suspend tenant" }).click();
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByRole("button", { name: "Suspend", exact: true }).waitFor();

  await page.getByRole("button", { name: "Delete", exact: true }).click();
  const dialog = page.getByRole("dialog");
  const confirm = dialog.getByRole("button", { name: "Delete tenant" });
  assert.equal(await confirm.isDisabled(), true);
  const slug = (await dialog.getByText(/^Type .* to confirm$/).textContent()).split(" ")[1];
  await dialog.getByLabel(/^Type/).fill(slug);
  await confirm.click();
  await page.getByRole("heading", { name: "Create a tenant" }).waitFor();
  assertQuiet(page, /401|404/); // "who is signed in", asked before signing up; and the tenant that is gone
});
