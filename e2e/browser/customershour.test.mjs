// A customer's hour in the console, with the command line as the traffic: sign up,
// invite a colleague, two tenants, rotate a key under traffic, hit a limit, see why,
// raise it, download the ledger and add it up.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { assertAccessible, assertQuiet, launch, open, picture } from "../browser.mjs";
import { person } from "../cli.mjs";
import { eventually } from "../service.mjs";
import { stack } from "../stack.mjs";

const { console_url: url } = await stack();
const name = `hour-${randomBytes(6).toString("hex")}`;
const [ada, bob] = ["ada", "bob"].map((who) => `${who}-${name}@example.com`);

/** Runs a curl command that the page shows, as fetch. */
function runCurl(command) {
  const [, address] = command.match(/^curl\s+"([^"]+)"/);
  const headers = Object.fromEntries([...command.matchAll(/-H "([^:]+): ([^"]+)"/g)].map(([, name, value]) => [name, value]));
  const [, body] = command.match(/-d '([^']+)'/);
  return fetch(address, { method: "POST", headers, body });
}

/** Publishes the first message with the quick start's own command. */
async function firstMessage(page) {
  const answer = await runCurl(await page.getByRole("region", { name: "curl command" }).textContent());
  assert.equal(answer.status, 202, await answer.text());
}

/** Opens the link of a mail, as the mailbox page shows it. */
async function openMail(page, to, subject) {
  await page.goto(`${url}/dev/mailbox`);
  await page.getByRole("listitem").filter({ hasText: `To ${to}` }).filter({ hasText: subject }).getByRole("link", { name: "Open the link" }).click();
}

test("a customer's hour in the console", async (t) => {
  const browser = await launch(t);
  const page = await open(t, browser, `${url}/sign-up`);
  const nav = page.getByRole("navigation", { name: "Console" });
  const dialog = page.getByRole("dialog");
  const slugs = {};
  // What clients count, by tenant.
  const published = { first: 0, staging: 0 };
  let delivered = 0;
  let connection;
  let listener;

  await t.test("sign up, publish with the page's own command, and see it arrive", async () => {
    await page.getByLabel("Email").fill(ada);
    await page.getByLabel("Password", { exact: true }).fill(randomBytes(12).toString("hex"));
    await page.getByRole("button", { name: "Create account" }).click();
    await page.getByRole("heading", { name: "Quick start" }).waitFor();
    slugs.first = new URL(page.url()).pathname.split("/")[2];
    const light = (id, on) => page.locator(`[data-testid=light-${id}][data-on=${on}]`);
    await light("connection", false).waitFor();
    await light("message", false).waitFor();

    await page.getByRole("button", { name: "Show access key" }).click();
    connection = await dialog.getByRole("status", { name: "Connection string" }).textContent();
    await dialog.getByRole("button", { name: "I have saved it" }).click();
    await dialog.waitFor({ state: "detached" });

    await page.getByRole("button", { name: "Connect this page" }).click();
    await page.getByText("Connected, listening").waitFor();
    await light("connection", true).waitFor();
    await firstMessage(page);
    published.first++;
    await page.getByRole("list", { name: "Received messages" }).getByText("world").waitFor();
    await page.getByText("1 received").waitFor();
    delivered++;
    await light("message", true).waitFor();
    await picture(page, "quick-start-after-first-message");
  });

  await t.test("invite a colleague, who joins and uses the second tenant", async () => {
    await page.getByRole("button", { name: /^Tenant: / }).click();
    await page.getByRole("menuitem", { name: "New tenant" }).click();
    await dialog.getByLabel("Name").fill("Staging");
    await dialog.getByRole("button", { name: "Create tenant" }).click();
    await page.getByRole("button", { name: "Tenant: Staging" }).waitFor();
    await page.getByRole("heading", { name: "Quick start" }).waitFor();
    slugs.staging = new URL(page.url()).pathname.split("/")[2];

    // Who invites has confirmed the own address; the page says so, and has the way.
    await nav.getByRole("link", { name: "Members" }).click();
    const members = page.url();
    await openMail(page, ada, "Confirm");
    await page.getByRole("button", { name: "Confirm address" }).click();
    await page.getByRole("heading", { name: "Email address confirmed" }).waitFor();
    await page.goto(members);
    await page.getByRole("button", { name: "Invite" }).click();
    await dialog.getByLabel("Email").fill(bob);
    await dialog.getByRole("button", { name: "Send invitation" }).click();
    await page.getByRole("table", { name: "Invitations" }).getByText(bob).waitFor();

    const colleague = await open(t, browser, `${url}/dev/mailbox`);
    await openMail(colleague, bob, "invited");
    await colleague.getByLabel("Password", { exact: true }).fill(randomBytes(12).toString("hex"));
    await colleague.getByRole("button", { name: /^Join/ }).click();
    await colleague.waitForURL((address) => address.pathname.startsWith("/tenants/"));
    await colleague.goto(`${url}/tenants/${slugs.staging}/quick-start`);
    await firstMessage(colleague);
    published.staging++;
    assertQuiet(colleague, /401/);
    await colleague.context().close();
    await page.reload();
    const role = page.getByRole("combobox", { name: `Role of ${bob}` });
    await role.waitFor();
    assert.equal(await role.inputValue(), "Developer");
  });

  await t.test("rotate the key under traffic: nothing fails, and then the former key is of no use", async () => {
    const backend = async (key) => {
      const machine = await person(t, { SIGNALBOX_CONNECTION_STRING: key });
      const process = machine.start("publish", "chat", "tick", "--lines", "--wait", "-q");
      let lines = 0;
      const timer = setInterval(() => lines++ < 500 && process.child.stdin.write(`${lines}\n`), 50);
      const stop = async () => {
        clearInterval(timer);
        process.child.stdin.end();
        const { status, err } = await process.ended;
        assert.equal(status, 0, err);
        published.first += process.lines.length;
      };
      return { process, stop };
    };
    const before = await backend(connection);
    await eventually(() => before.process.lines.length >= 5, "traffic with the first key");

    await page.goto(`${url}/tenants/${slugs.first}/keys`);
    await page.getByRole("button", { name: "Regenerate primary key" }).click();
    await page.getByRole("combobox", { name: "Keep the present key good for" }).click();
    await page.getByRole("option", { name: "One hour" }).click();
    await page.getByRole("button", { name: "Regenerate key" }).click();
    const fresh = await dialog.getByRole("status", { name: "Connection string" }).textContent();
    await page.getByRole("button", { name: "Done" }).click();
    const former = page.getByRole("group", { name: "Former primary key" });
    await former.waitFor();

    const seen = before.process.lines.length;
    const after = await backend(fresh);
    await eventually(() => before.process.lines.length >= seen + 5 && after.process.lines.length >= 5, "traffic with both keys");
    await before.stop();
    await page.getByRole("button", { name: "End the former primary key" }).click();
    await page.getByRole("button", { name: "End key" }).click();
    await former.waitFor({ state: "detached" });
    const old = await person(t, { SIGNALBOX_CONNECTION_STRING: connection });
    await eventually(async () => {
      const { status, err } = await old.run(["publish", "chat", "late", "1"]);
      if (status === 0) published.first++; // an edge that hasn't heard of it yet
      else assert.equal(status, 4, err);
      return status !== 0;
    }, "the former key to be refused");
    const sent = after.process.lines.length;
    await eventually(() => after.process.lines.length > sent, "traffic with the new key alone");
    await after.stop();
    connection = fresh;
  });

  await t.test("hit a limit, see why, raise it", async () => {
    const machine = await person(t, { SIGNALBOX_CONNECTION_STRING: connection });
    listener = machine.start("listen", "chat");
    await eventually(() => listener.said.err.includes("connected to"), "the listener to connect");
    const burst = Array.from({ length: 40 }, (_, i) => `${i}\n`).join("");
    const send = async () => {
      const { status, out, err } = await machine.run(["publish", "chat", "burst", "--lines", "--text", "-q"], burst);
      published.first += out.trim().split("\n").filter(Boolean).length;
      return { status, err };
    };

    await nav.getByRole("link", { name: "Limits" }).click();
    const row = page.getByRole("row").filter({ hasText: "messages_per_second" });
    await row.getByRole("cell", { name: "100 messages/s" }).waitFor();
    assert.equal(await page.getByRole("row").filter({ hasText: "max_connections_per_ip" }).getByText("on each edge by itself").count(), 1);
    await assertAccessible(page, "the limits page");
    const change = async (limit, value, ends) => {
      await page.getByRole("button", { name: `Change ${limit}` }).click();
      await dialog.getByLabel(/^Value/).fill(value);
      if (ends) {
        await dialog.getByRole("combobox", { name: "Ends" }).click();
        await page.getByRole("option", { name: ends }).click();
      }
      await dialog.getByRole("button", { name: "Save" }).click();
      await dialog.waitFor({ state: "detached" });
    };
    await change("accepted messages per second", "5");
    await change("burst of accepted messages", "5");
    await row.getByText("Override").waitFor();
    let refused;
    await eventually(async () => (refused = await send()).status !== 0, "the limit to be hit");
    assert.equal(refused.status, 3);
    assert.match(refused.err, /limit messages_per_second: 5, at once 5/);

    await row.getByRole("link", { name: "rate_limited" }).waitFor();
    await picture(page, "limits-refused");
    await change("accepted messages per second", "200", "In a day");
    await change("burst of accepted messages", "600", "In a day");
    await row.getByRole("cell", { name: "200 messages/s" }).waitFor();
    await eventually(async () => (await send()).status === 0, "the raised limit to be in force");

    // A larger plan is the other way.
    await page.getByRole("button", { name: "Change accepted messages per second" }).click();
    await dialog.getByRole("button", { name: "Use the plan's value" }).click();
    await row.getByText("Override").waitFor({ state: "detached" });
    await nav.getByRole("link", { name: "Usage" }).click();
    await page.getByText("rate_limited", { exact: true }).waitFor();
    await page.getByRole("combobox", { name: "Change to" }).click();
    await page.getByRole("option", { name: "Pro" }).click();
    await page.getByRole("button", { name: "Change plan" }).click();
    await page.getByText(/^Pro since/).waitFor();
    await nav.getByRole("link", { name: "Limits" }).click();
    await row.getByRole("cell", { name: "2,000 messages/s" }).waitFor();
  });

  await t.test("download the ledger and add it up: what clients published and received", async () => {
    // The last message that the listener gets is the last that was published.
    const machine = await person(t, { SIGNALBOX_CONNECTION_STRING: connection });
    await machine.ok(["publish", "chat", "last", "1"]);
    published.first++;
    await eventually(() => listener.lines.some((line) => /\blast\b/.test(line)), "the last message");
    delivered += listener.lines.length;

    const download = async (link, name) => {
      const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: link }).click()]);
      assert.match(file.suggestedFilename(), name);
      return readFile(await file.path(), "utf8");
    };
    const sums = (csv) => {
      const [head, ...rows] = csv.trim().split("\n").map((line) => line.split(","));
      const sum = (column) => rows.filter(([id]) => /^\d/.test(id)).reduce((total, row) => total + Number(row[head.indexOf(column)]), 0);
      return { accepted: sum("messages_accepted"), delivered: sum("messages_delivered") };
    };
    const want = { first: { accepted: published.first, delivered }, staging: { accepted: published.staging, delivered: 0 } };
    for (const tenant of ["first", "staging"]) {
      await page.goto(`${url}/tenants/${slugs[tenant]}/usage`);
      await page.getByRole("heading", { name: "Ledger" }).waitFor();
      // Chromium ignores every tenth download or so of those that follow each other in
      // no time, so it is asked for one.
      await eventually(async () => {
        const asked = await page.request.get(`${url}/v1/tenants/${slugs[tenant]}/ledger?format=csv`);
        const found = sums(await asked.text());
        return found.accepted >= want[tenant].accepted && found.delivered >= want[tenant].delivered;
      }, "the ledger to have it all", 60_000);
      assert.deepEqual(sums(await download("Download CSV", new RegExp(`^usage-${slugs[tenant]}-.*\\.csv$`))), want[tenant]);
      const { totals } = JSON.parse(await download("Download JSON", /\.json$/));
      assert.deepEqual({ accepted: totals.messages_accepted, delivered: totals.messages_delivered }, want[tenant]);
    }
    const whole = { accepted: published.first + published.staging, delivered };
    assert.deepEqual(sums(await download("All tenants, CSV", /\.csv$/)), whole);
    t.diagnostic(`${published.first + published.staging} messages published and ${delivered} received, as many in the ledger`);
    assertQuiet(page, /401/); // "who is signed in", asked before signing up
  });
});
