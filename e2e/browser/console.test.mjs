// The console in a real browser: sessions, tokens, and how every page looks.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAccessible, assertQuiet, launch, open, picture } from "../browser.mjs";
import { stack } from "../stack.mjs";

const { console_url: url, account, service_url: front, tenants: [demo] } = await stack();

async function signIn(page) {
  await page.getByLabel("Email").fill(account.email);
  await page.getByLabel("Password", { exact: true }).fill(account.password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("navigation", { name: "Console" }).waitFor();
}

test("a signed-in session survives a reload and ends with signing out", async (t) => {
  const browser = await launch(t);
  const page = await open(t, browser, `${url}/sign-in`);
  await signIn(page);
  await page.reload();
  await page.getByRole("navigation", { name: "Console" }).waitFor();
  await page.getByRole("button", { name: "Account menu" }).click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
  await page.getByRole("button", { name: "Sign in" }).waitFor();
  await page.goto(`${url}/tenants/${demo.slug}/keys`);
  await page.getByRole("button", { name: "Sign in" }).waitFor();
});

test("a token is made with a permission, tried, and taken back", async (t) => {
  const browser = await launch(t);
  const page = await open(t, browser, `${url}/sign-in`);
  await signIn(page);
  await page.goto(`${url}/tenants/${demo.slug}/tokens`);
  const panel = (name) => page.locator("section", { has: page.getByRole("heading", { level: 2, name }) });
  const make = panel("Make a token");
  await make.getByLabel("Hub").fill("chat");
  await make.getByLabel("User id").fill("ann");
  await make.getByLabel("Permissions").fill("joinGroup:room-*");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Escape");
  await make.getByRole("button", { name: "Make token" }).click();
  const token = await make.getByRole("status", { name: "Token", exact: true }).textContent();
  const id = await make.getByRole("status", { name: "Id, to revoke it by" }).textContent();

  const check = panel("Would this be allowed?");
  await check.getByLabel("Hub").fill("chat");
  await check.getByLabel("Group", { exact: true }).fill("room-7");
  await check.getByLabel("Token").fill(token);
  const verdict = (text) => check.getByRole("status", { name: "Verdict" }).getByText(text).waitFor();
  await check.getByRole("button", { name: "Check" }).click();
  await verdict("joinGroup:room-*, of the token");

  const revocations = panel("Revocations");
  await revocations.getByRole("combobox", { name: "Revoke" }).click();
  await page.getByRole("option", { name: "One token" }).click();
  await revocations.getByLabel("Id of the token (jti)").fill(id);
  await revocations.getByRole("button", { name: "Revoke" }).click();
  await revocations.getByRole("button", { name: `Lift the revocation of token ${id}` }).waitFor();
  await check.getByRole("button", { name: "Check" }).click();
  await verdict(/^Refused/);
  await revocations.getByRole("button", { name: `Lift the revocation of token ${id}` }).click();
  await revocations.getByRole("cell", { name: `token ${id}`, exact: true }).waitFor({ state: "detached" });
  assertQuiet(page, /401/);
});

const pages = [
  { name: "quick-start", path: `/tenants/${demo.slug}/quick-start`, heading: "Quick start" },
  { name: "overview", path: `/tenants/${demo.slug}` },
  { name: "hubs", path: `/tenants/${demo.slug}/hubs`, heading: "Hubs" },
  { name: "keys", path: `/tenants/${demo.slug}/keys`, heading: "Keys" },
  { name: "tokens", path: `/tenants/${demo.slug}/tokens`, heading: "Tokens" },
  { name: "usage", path: `/tenants/${demo.slug}/usage`, heading: "Usage" },
  { name: "limits", path: `/tenants/${demo.slug}/limits`, heading: "Limits" },
  { name: "members", link: "/members", heading: "Members" },
  { name: "tokens", link: "/tokens", heading: "API tokens" },
  { name: "security", path: "/security", heading: "Security" },
];

// Each width begins with another scheme, so that both are drawn from the start and changed to.
for (const [width, colorSchemes] of [[1440, ["light", "dark"]], [390, ["dark", "light"]]]) {
  test(`every page is accessible and fits at ${width} pixels, light and dark`, async (t) => {
    const browser = await launch(t);
    const page = await open(t, browser, `${url}/sign-up`, { viewport: { width, height: 900 }, colorScheme: colorSchemes[0], reducedMotion: "reduce" });
    const look = async (name) => {
      for (const colorScheme of colorSchemes) {
        await page.emulateMedia({ colorScheme });
        await page.locator(`html[data-mantine-color-scheme=${colorScheme}]`).waitFor();
        await page.waitForFunction(() => !document.getAnimations().some((each) => each instanceof CSSTransition)); // of colours
        await assertAccessible(page, `${name}, ${width}, ${colorScheme}`);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(overflow <= 0, `${name} is ${overflow} pixels wider than ${width}`);
        await picture(page, `${name}-${width}-${colorScheme}`);
      }
      await page.emulateMedia({ colorScheme: colorSchemes[0] });
    };
    await page.getByRole("button", { name: "Create account" }).waitFor();
    await look("sign-up");
    await page.goto(`${url}/forgot-password`);
    await page.getByRole("button", { name: "Send the link" }).waitFor();
    await look("forgot-password");
    await page.goto(`${url}/sign-in`);
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    await look("sign-in");
    await page.getByLabel("Email").fill(account.email);
    await page.getByLabel("Password", { exact: true }).fill(account.password);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL((address) => !address.pathname.startsWith("/sign-in"));
    for (const { name, path, link, heading } of pages) {
      // Of an account, whose id the page alone knows.
      await page.goto(url + (path ?? (await page.locator(`a[href$="${link}"]`).first().getAttribute("href"))));
      await page.getByRole("heading", { level: 1, ...(heading && { name: heading }) }).waitFor();
      await page.waitForFunction(() => !document.querySelector(".mantine-Skeleton-root")); // everything is there
      await look(name);
    }
    assertQuiet(page, /401/);
  });
}

test("the console asks for nothing but itself and the service", async (t) => {
  const browser = await launch(t);
  const page = await open(t, browser, "about:blank");
  const foreign = new Set();
  const own = [new URL(url).host, new URL(front).host];
  page.on("request", (request) => {
    const { host, protocol } = new URL(request.url());
    if (/^(https?|wss?):$/.test(protocol) && !own.includes(host)) foreign.add(host);
  });
  await page.goto(`${url}/sign-in`);
  await signIn(page);
  await page.goto(`${url}/tenants/${demo.slug}/usage`);
  await page.getByRole("heading", { level: 1 }).waitFor();
  assert.deepEqual([...foreign], []);
});
