// A colleague joins, and an owner's sign-in is made safer: invitation, roles, second
// factor, reset, in real browsers, with the mails of the mailbox.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { test } from "node:test";

import { call, signUp, totp } from "../account.mjs";
import { assertAccessible, assertQuiet, launch, open, picture } from "../browser.mjs";
import { clientToken, connect, eventually, publish } from "../service.mjs";
import { stack } from "../stack.mjs";

const { console_url: url, edge_urls: [edge] } = await stack();

/** The link of the newest mail to an address whose subject has a word. */
async function mailLink(to, word) {
  const { body } = await call(url, {}, "GET", "/v1/dev/mailbox");
  const mail = body.mails.find((each) => each.to === to && each.subject.includes(word));
  assert.ok(mail, `no mail to ${to} about ${word}`);
  return mail.link;
}

/** Signs somebody up whose address is confirmed: a reset takes the second factor of others. */
async function confirmedSignUp() {
  const owner = await signUp(url);
  const token = new URL(await mailLink(owner.email, "Confirm")).searchParams.get("token");
  await call(url, {}, "POST", "/v1/email-verification", { token });
  return owner;
}

async function submitSignIn(page, email, password) {
  await page.getByLabel("Email").fill(email);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}

const looks = [
  { viewport: { width: 1440, height: 900 }, colorScheme: "light" },
  { viewport: { width: 390, height: 900 }, colorScheme: "dark" },
];

{
  const options = looks[1]; // customershour.test.mjs has the other
  const { viewport: { width }, colorScheme } = options;
  test(`invite a colleague, who joins as a viewer, at ${width} pixels, ${colorScheme}`, async (t) => {
    const owner = await confirmedSignUp();
    const colleague = `colleague-${randomBytes(6).toString("hex")}@example.com`;

    const browser = await launch(t);
    const look = async (page, name) => {
      await assertAccessible(page, name);
      await picture(page, `${name}-${width}-${colorScheme}`);
    };
    const members = `${url}/accounts/${owner.signUp.account.id}/members`;
    const page = await open(t, browser, `${url}/sign-in?next=${new URL(members).pathname}`, { ...options, reducedMotion: "reduce" });
    await submitSignIn(page, owner.email, owner.password);
    await page.getByRole("heading", { level: 1, name: "Members" }).waitFor();
    await page.getByRole("button", { name: "Invite" }).click();
    const dialog = page.getByRole("dialog", { name: "Invite somebody" });
    await dialog.getByLabel("Email").fill(colleague);
    await dialog.getByLabel("Role").click();
    await page.getByRole("option", { name: "Viewer" }).click();
    await look(page, "invite");
    await dialog.getByRole("button", { name: "Send invitation" }).click();
    await page.getByRole("table", { name: "Invitations" }).getByText(colleague).waitFor();
    await look(page, "members-invited");

    const invited = await open(t, browser, await mailLink(colleague, "invited"), { ...options, reducedMotion: "reduce" });
    await invited.getByRole("button", { name: /^Join/ }).waitFor();
    await look(invited, "invitation");
    await invited.getByLabel("Password", { exact: true }).fill(randomBytes(12).toString("hex"));
    await invited.getByRole("button", { name: /^Join/ }).click();
    await invited.waitForURL((address) => address.pathname.startsWith("/tenants/"));
    await invited.goto(members);
    await invited.getByRole("cell", { name: owner.email }).waitFor();
    assert.equal(await invited.getByRole("button", { name: "Invite" }).count(), 0, "a viewer is shown what the API refuses");
    assertQuiet(invited, /401/);

    await page.reload();
    await page.getByRole("cell", { name: colleague, exact: true }).waitFor();
    await page.getByRole("button", { name: `Remove ${colleague}` }).click();
    await page.getByRole("button", { name: "Remove member" }).click();
    await page.getByRole("cell", { name: colleague, exact: true }).waitFor({ state: "detached" });
    await invited.reload();
    await invited.getByText("Nothing here").waitFor();
    assertQuiet(page, /401/);
  });
}

for (const options of looks) {
  const { viewport: { width }, colorScheme } = options;
  test(`a second factor and a forgotten password, at ${width} pixels, ${colorScheme}`, async (t) => {
    const owner = await confirmedSignUp();
    const browser = await launch(t);
    const page = await open(t, browser, `${url}/sign-in?next=/security`, { ...options, reducedMotion: "reduce" });
    const look = async (name) => {
      await assertAccessible(page, name);
      await picture(page, `${name}-${width}-${colorScheme}`);
    };
    await submitSignIn(page, owner.email, owner.password);
    await page.getByRole("button", { name: "Set up" }).click();
    const dialog = page.getByRole("dialog", { name: "Set up a second factor" });
    await dialog.getByLabel("Password", { exact: true }).fill(owner.password);
    await dialog.getByRole("button", { name: "Continue" }).click();
    await dialog.getByRole("img", { name: /QR code/ }).waitFor();
    await look("second-factor-set-up");
    const secret = await dialog.getByRole("status", { name: "Or type in this secret" }).textContent();
    await dialog.getByLabel("Code", { exact: true }).fill(totp(secret));
    await dialog.getByRole("button", { name: "Switch on" }).click();
    await dialog.getByRole("status", { name: "Recovery codes" }).waitFor();
    await look("recovery-codes");
    const [recovery] = (await dialog.getByRole("status", { name: "Recovery codes" }).textContent()).match(/[A-Z2-7-]{19}/);
    await dialog.getByRole("button", { name: "Done" }).click();
    await page.getByText("10 recovery codes are left").waitFor();

    const again = await open(t, browser, `${url}/forgot-password`, { ...options, reducedMotion: "reduce" });
    await again.getByLabel("Email").fill(owner.email);
    await again.getByRole("button", { name: "Send the link" }).click();
    await again.getByRole("heading", { name: "Look at your mail" }).waitFor();
    await again.goto(await mailLink(owner.email, "new password"));
    const password = randomBytes(12).toString("hex");
    await again.getByLabel("New password").fill(password);
    await again.getByRole("button", { name: "Set password" }).click();
    await again.getByRole("link", { name: "Sign in" }).click();
    await submitSignIn(again, owner.email, password);
    await again.getByRole("heading", { name: "Second step" }).waitFor();
    await assertAccessible(again, "second step");
    await picture(again, `second-step-${width}-${colorScheme}`);
    await again.getByLabel("Code", { exact: true }).fill(recovery.toLowerCase());
    await again.getByRole("button", { name: "Sign in", exact: true }).click();
    await again.waitForURL((address) => address.pathname.startsWith("/tenants/"));
    assertQuiet(again, /401/);

    await page.reload(); // the reset ended this session
    await page.getByRole("button", { name: "Sign in", exact: true }).waitFor();
    assertQuiet(page, /401/);
  });
}

test("sign in with an OpenID provider, and be told when it can't be", async (t) => {
  const email = `openid-${randomBytes(6).toString("hex")}@example.com`;
  const browser = await launch(t);
  const page = await open(t, browser, `${url}/sign-in?next=/security`, { reducedMotion: "reduce" });
  const provide = async (name) => {
    await page.getByRole("button", { name: "Continue with Example" }).click();
    await page.locator("input[name=username]").fill(name);
    await page.locator("input[name=password]").fill("verysecure");
    await page.locator("button, input[type=submit]").first().click();
  };
  await provide(`unverified-${email}`);
  await page.getByRole("alert").getByText("The provider does not vouch for your email address.").waitFor();
  await assertAccessible(page, "sign-in after a refusal of the provider");
  await page.goto(`${url}/sign-in?next=/security`);
  await provide(email);
  await page.getByRole("heading", { level: 1, name: "Security" }).waitFor();
  await page.getByRole("button", { name: `Unlink ${email}` }).waitFor();
  await page.getByRole("button", { name: "Account menu" }).click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
  await page.getByRole("button", { name: "Sign in", exact: true }).waitFor();
  await page.goto(`${url}/security`);
  await page.getByRole("button", { name: "Sign in", exact: true }).waitFor();
  await provide(email); // the same user again, where it wanted to go
  await page.getByRole("heading", { level: 1, name: "Security" }).waitFor();
  assertQuiet(page, /401|404/); // the provider's page has no icon
});

test("SEC-40: markup in names, upstreams' answers and events is shown as text", async (t) => {
  const owner = await signUp(url);
  const evil = `<img src=x onerror="window.pwned=1"><svg onload="window.pwned=1">`;
  const account = owner.signUp.account.id;
  const tenant = `/v1/tenants/${owner.tenant.slug}`;
  await call(url, owner.session, "PATCH", tenant, { name: evil });
  await call(url, owner.session, "PATCH", `/v1/accounts/${account}`, { name: evil });
  await call(url, owner.session, "POST", "/v1/api-tokens", { name: evil }, 201);

  // A hub can't have such a name; its upstream can answer so.
  await call(url, owner.session, "PUT", `${tenant}/hubs/${encodeURIComponent(evil)}`, {}, 400);
  const upstream = createServer((request, response) => {
    request.resume().once("end", () => {
      if (request.method === "OPTIONS") return response.writeHead(200, { "webhook-allowed-origin": "*" }).end();
      return response.writeHead(400, { "content-type": `text/html; x="${evil.replaceAll('"', "'")}"` }).end(evil);
    });
  });
  await new Promise((done) => upstream.listen(0, "127.0.0.1", done));
  t.after(() => upstream.close());
  const rules = [{ url: `http://127.0.0.1:${upstream.address().port}/{event}` }];
  await call(url, owner.session, "PUT", `${tenant}/hubs/upstream`, { handler: "upstream", upstream: { mode: "azure", rules } }, 201);
  await eventually(async () => {
    const token = clientToken(owner.tenant, { hub: "upstream", user: evil });
    await connect(t, edge, owner.tenant, { hub: "upstream", token }).then((client) => client.connection.invoke(evil), () => {}).catch(() => {});
    const { body } = await call(url, owner.session, "GET", `${tenant}/upstream-deliveries`);
    return body.deliveries.some(({ response }) => response.text === evil);
  }, "the upstream's answer in the log");

  const token = clientToken(owner.tenant, { hub: "chat", user: evil, "sbx.permissions": ["joinGroup"], "sbx.groups": evil });
  const present = await connect(t, edge, owner.tenant, { hub: "chat", token });
  await present.connection.invoke("$setPresence", evil, evil);

  await publish(edge, owner.tenant, "/hubs/chat", evil, evil);
  await eventually(async () => {
    const { body } = await call(url, owner.session, "GET", `${tenant}/usage/top?by=method`);
    return body.values.some(({ value }) => value === evil);
  }, "the method in the ledger", 90_000); // edges tell values when the minute is over

  const browser = await launch(t);
  const page = await open(t, browser, `${url}/sign-in`);
  await submitSignIn(page, owner.email, owner.password);
  await page.waitForURL((address) => !address.pathname.startsWith("/sign-in"));
  const runsNothing = async (what) => assert.equal(await page.evaluate(() => window.pwned), undefined, `${what} runs a name`);
  const accountPages = ["members", "tokens", "audit"].map((name) => `/accounts/${account}/${name}`);
  for (const path of [`/tenants/${owner.tenant.slug}`, `/tenants/${owner.tenant.slug}/keys`, ...accountPages]) {
    await page.goto(url + path);
    await page.getByText(evil).first().waitFor();
    await runsNothing(path);
  }
  await page.goto(`${url}/tenants/${owner.tenant.slug}/hubs`);
  await page.getByLabel("Group").fill(evil);
  await page.getByRole("button", { name: "Watch" }).click();
  const members = page.getByRole("table", { name: `Members of ${evil}` });
  await members.getByRole("cell", { name: evil, exact: true }).waitFor();
  await members.getByText(JSON.stringify(evil)).waitFor();
  const deliveries = page.getByRole("table", { name: "Upstream deliveries" });
  await deliveries.getByRole("button", { name: /^Details/ }).first().click();
  await page.getByRole("dialog").getByText(evil).first().waitFor();
  await page.getByRole("button", { name: "Send again" }).click();
  await page.getByText(/^Sent again, and failed: /).waitFor();
  await runsNothing("the page of hubs");
  await page.goto(`${url}/tenants/${owner.tenant.slug}/usage`);
  await page.getByText("Method", { exact: true }).click();
  await page.getByRole("table", { name: "Messages by method" }).getByRole("cell", { name: evil, exact: true }).waitFor();
  await runsNothing("the page of usage");

  // What is in the policy would stop it, too: no script or style that isn't the console's.
  const policy = (await fetch(`${url}/sign-in`)).headers.get("content-security-policy");
  assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self' 'nonce-\w{26}';/);
  assert.doesNotMatch(policy, /unsafe/);
  assertQuiet(page, /401/);
  await page.evaluate((text) => document.body.insertAdjacentHTML("beforeend", `${text}<style>body { color: red }</style>`), evil);
  await eventually(() => ["script-src-attr", "style-src-elem"].every((each) => page.faults.some((text) => text.startsWith(`${each} stops`))), "the policy to stop what is inserted");
  await runsNothing("what is inserted");
});
