// Those who run the service, in a real browser on their own listener: set up with an
// authenticator app, a tenant found, limited and suspended, an edge drained, all of it
// in the audit log. And none of it on the customers' listener.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { call, signUp, totp } from "../account.mjs";
import { assertAccessible, assertQuiet, launch, open, picture } from "../browser.mjs";
import { stack } from "../stack.mjs";

const { console_url: url, operator_url: desk } = await stack();

/** Makes an operator with the api's command; resolves to the link of the set-up. */
async function operatorLink(email) {
  const text = await readFile(join(dirname(process.env.SIGNALBOX_DEV_JSON), "api.env"), "utf8");
  const settings = Object.fromEntries([...text.matchAll(/^(\w+)='(.*)'$/gm)].map(([, name, value]) => [name, value]));
  const program = resolve(import.meta.dirname, "../../bin/api");
  const { stdout } = await promisify(execFile)(program, ["operator", "add", "Grace Hopper", email], { env: { ...process.env, ...settings } });
  return stdout.trim().split("\n").at(-1);
}

test("an operator finds, limits and suspends a tenant, drains an edge, and is seen to", async (t) => {
  const customer = await signUp(url);
  const { slug } = customer.tenant;
  const email = `operator-${randomBytes(6).toString("hex")}@example.com`;
  const password = randomBytes(12).toString("hex");
  const browser = await launch(t);
  const page = await open(t, browser, await operatorLink(email), { colorScheme: "light", reducedMotion: "reduce" });
  const look = async (name) => {
    await assertAccessible(page, name);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(overflow <= 0, `${name} is ${overflow} pixels too wide`);
    await picture(page, `operator-${name}`);
  };
  const heading = (name) => page.getByRole("heading", { level: 1, name }).waitFor();
  const nav = page.getByRole("navigation", { name: "Console" });
  const dialog = page.getByRole("dialog");

  assert.ok(page.url().startsWith(`${desk}/set-up#token=`), "the link leads elsewhere");
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByRole("img", { name: /QR code/ }).waitFor();
  await look("set-up");
  const secret = await page.getByRole("status", { name: "Or type in this secret" }).textContent();
  await page.getByLabel("Code", { exact: true }).fill(totp(secret));
  await page.getByRole("button", { name: "Finish" }).click();
  await page.getByRole("link", { name: "Sign in" }).click();
  await page.getByLabel("Email").fill(email);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByLabel("Code", { exact: true }).fill(totp(secret, 1)); // each is good once
  await page.getByRole("button", { name: "Sign in" }).click();
  await heading("Tenants");

  await page.getByLabel("Search").fill(slug);
  await page.waitForURL((address) => address.searchParams.get("search") === slug);
  const row = page.getByRole("row").filter({ hasText: slug });
  await row.getByText("Active").waitFor();
  await row.getByRole("link").click();
  await page.waitForURL(`${desk}/tenants/${customer.tenant.id}`);
  await heading(slug);
  const limit = page.getByRole("row").filter({ hasText: "max_connections_per_user" });
  await limit.getByText("Plan", { exact: true }).waitFor();
  await limit.getByRole("button", { name: /^Change/ }).click();
  await dialog.getByLabel(/^Value/).fill("7");
  await dialog.getByRole("button", { name: "Save" }).click();
  await dialog.getByText("Say why").waitFor();
  await dialog.getByLabel("Reason").fill("agreed by mail");
  await look("limit");
  await dialog.getByRole("button", { name: "Save" }).click();
  await limit.getByText("Operator", { exact: true }).waitFor();
  await limit.getByText("agreed by mail").waitFor();

  await page.getByRole("button", { name: "Suspend" }).click();
  await dialog.getByLabel("Reason").fill("sends spam");
  await dialog.getByRole("button", { name: "Suspend tenant" }).click();
  await page.getByText("Suspended by an operator").waitFor();
  await look("tenant");
  const suspended = await call(url, customer.session, "GET", `/v1/tenants/${slug}`);
  assert.deepEqual([suspended.body.status, suspended.body.suspended_by, suspended.body.suspended_reason], ["suspended", "operator", "sends spam"]);
  await page.getByRole("button", { name: "Resume" }).click();
  await dialog.getByLabel("Reason").fill("stopped");
  await dialog.getByRole("button", { name: "Resume tenant" }).click();
  await page.getByText("Active", { exact: true }).waitFor();

  await nav.getByRole("link", { name: "Edges" }).click();
  const edge = page.getByRole("table", { name: "Edges" }).getByRole("row").last();
  await edge.getByText("Ready", { exact: true }).waitFor();
  const run = await edge.locator("td").first().locator("p").textContent();
  t.after(() => page.request.post(`${desk}/operator/v1/edges/${run}/undrain`, { data: { reason: "the test has ended" }, headers: { origin: desk } }).catch(() => undefined));
  await edge.getByRole("button", { name: /^Drain/ }).click();
  await dialog.getByLabel("Reason").fill("a new disk");
  await dialog.getByRole("button", { name: "Drain edge" }).click();
  await edge.getByText("Drained").waitFor();
  await edge.getByRole("button", { name: /^Undrain/ }).click();
  await dialog.getByLabel("Reason").fill("has it");
  await dialog.getByRole("button", { name: "Undrain edge" }).click();
  await edge.getByText("Ready", { exact: true }).waitFor();

  // A token for a program is shown once, works within its scopes, and is revoked.
  await nav.getByRole("link", { name: "Tokens" }).click();
  await heading("Tokens");
  await page.getByRole("button", { name: "New token" }).click();
  await dialog.getByRole("button", { name: "Create token" }).click();
  await dialog.getByText("Choose what it is for.").waitFor();
  await dialog.getByLabel("Name").fill("watch");
  await dialog.getByRole("combobox", { name: "Scopes" }).press("ArrowDown");
  await page.getByRole("option", { name: "operate:edges:read" }).click();
  await dialog.getByLabel("Name").click(); // closes the list
  await dialog.getByRole("button", { name: "Create token" }).click();
  const bearer = { headers: { authorization: `Bearer ${await dialog.getByRole("status", { name: "Token" }).textContent()}` } };
  await look("token");
  await dialog.getByRole("button", { name: "Done" }).click();
  const asked = async (path) => (await fetch(desk + path, bearer)).status;
  assert.deepEqual([await asked("/operator/v1/edges"), await asked("/operator/v1/tenants")], [200, 403]);
  await page.getByRole("button", { name: "Revoke watch" }).click();
  await dialog.getByRole("button", { name: "Revoke token" }).click();
  await page.getByText("No tokens yet").waitFor();
  assert.equal(await asked("/operator/v1/edges"), 401);

  await nav.getByRole("link", { name: "Audit log" }).click();
  await page.getByLabel("Who").fill("Grace Hopper");
  for (const action of ["edge.undrained", "tenant.suspended", "limit.overridden"]) await page.getByRole("cell", { name: action, exact: true }).first().waitFor();
  await page.getByRole("button", { name: "Verify now" }).click();
  await page.getByText(/all as they were written/).waitFor();
  await picture(page, "operator-audit");

  // Dark, and as wide as a phone; by the keyboard.
  await page.setViewportSize({ width: 390, height: 900 });
  await page.emulateMedia({ colorScheme: "dark" });
  for (const [name, path, title] of [["tenants", "/tenants", "Tenants"], ["tenant", `/tenants/${slug}`, slug], ["edges", "/edges", "Edges"], ["audit", "/audit", "Audit log"], ["tokens", "/tokens", "Tokens"]]) {
    await page.goto(desk + path);
    await heading(title);
    await page.waitForLoadState("networkidle");
    await look(`${name}-390-dark`);
  }
  await page.getByRole("button", { name: "Open navigation" }).focus();
  await page.keyboard.press("Enter");
  await nav.getByRole("link", { name: "Edges" }).press("Enter");
  await heading("Edges");
  await page.getByRole("button", { name: "Open navigation" }).click();
  await page.getByRole("button", { name: "Account menu" }).click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
  await heading("Sign in");
  await page.goto(`${desk}/tenants`);
  await heading("Sign in");
  assertQuiet(page, /401/); // "who is signed in", asked before signing in

  // What operators have is on their listener alone.
  const [, script] = (await (await fetch(desk)).text()).match(/src="(\/assets\/[^"]+\.js)"/);
  assert.equal((await fetch(desk + script)).status, 200);
  assert.equal((await fetch(url + script)).status, 404, "the operators' console is on the customers' listener");
});

test("SEC-40: markup in what customers and operators have written is shown to operators as text", async (t) => {
  const evil = `<img src=x onerror="window.pwned=1"><svg onload="window.pwned=1">`;
  const customer = await signUp(url);
  const { slug } = customer.tenant;
  await call(url, customer.session, "PATCH", `/v1/tenants/${slug}`, { name: evil });
  await call(url, customer.session, "PATCH", `/v1/accounts/${customer.signUp.account.id}`, { name: evil });

  const email = `operator-${randomBytes(6).toString("hex")}@example.com`;
  const password = randomBytes(12).toString("hex");
  const [, token] = (await operatorLink(email)).split("#token=");
  const { body: made } = await call(desk, {}, "POST", "/operator/v1/set-up", { token, password });
  await call(desk, {}, "POST", "/operator/v1/set-up/confirmation", { token, code: totp(made.secret) }, 204);
  const browser = await launch(t);
  const page = await open(t, browser, `${desk}/sign-in`);
  await page.getByLabel("Email").fill(email);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByLabel("Code", { exact: true }).fill(totp(made.secret, 1)); // each is good once
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { level: 1, name: "Tenants" }).waitFor();
  const change = async (method, path, data) => {
    const response = await page.request.fetch(`${desk}/operator/v1${path}`, { method, data, headers: { origin: desk } });
    assert.ok(response.ok(), `${method} ${path}: ${await response.text()}`);
  };
  await change("PUT", `/tenants/${slug}/limits/max_hubs`, { max: 3, reason: evil });
  await change("POST", `/tenants/${slug}/suspend`, { reason: evil });
  await change("POST", "/tokens", { name: evil, scopes: ["operate:edges:read"], expires_in_days: 1 });

  for (const [path, times] of [[`/tenants?search=${slug}`, 1], [`/tenants/${slug}`, 3], ["/tokens", 1]]) {
    await page.goto(desk + path);
    const shown = page.getByText(evil);
    await shown.nth(times - 1).waitFor();
    assert.equal(await page.evaluate(() => window.pwned), undefined, `${path} runs a name`);
  }
  await page.goto(`${desk}/audit`);
  await page.getByRole("cell", { name: "tenant.suspended", exact: true }).first().waitFor();
  assert.equal(await page.evaluate(() => window.pwned), undefined, "the audit log runs a name");
  assertQuiet(page, /401/); // "who is signed in", asked before signing in
});
