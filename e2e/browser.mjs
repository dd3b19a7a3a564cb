// The console in a real browser.
import assert from "node:assert/strict";
import { access, constants, mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

import { chromium } from "playwright-core";

import { patience } from "./service.mjs";

/** Where Chromium-like browsers lie; $CHROMIUM goes first. */
const browsers = [
  process.env.CHROMIUM,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

async function findBrowser() {
  for (const path of browsers.filter(Boolean)) {
    if (await access(path, constants.X_OK).then(() => true, () => false)) return path;
  }
  throw new Error("no Chromium was found: apt-get install chromium, or set CHROMIUM to its path");
}

/** Starts a headless browser that is closed when the test ends. */
export async function launch(t) {
  // As root, as in CI, Chromium has no sandbox of its own.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  const browser = await chromium.launch({ executablePath: await findBrowser(), args });
  t.after(() => browser.close());
  return browser;
}

/**
 * Opens a page whose every console error, uncaught exception and failed request
 * is a failure of the test.
 */
export async function open(t, browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  const faults = [];
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(String(error)));
  // Whatever the page's policy stops is a fault, too, whether the browser says so or not.
  await context.exposeBinding("reportViolation", (_, text) => faults.push(text));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI, sample, sourceFile, lineNumber }) => {
      void window.reportViolation(`${effectiveDirective} stops ${blockedURI} ${sample}, of ${sourceFile}:${lineNumber}`);
    });
  });
  page.faults = faults;
  await page.goto(url);
  return page;
}

/** No errors in the page so far, but those that the test expects. */
export function assertQuiet(page, expected = /$^/) {
  assert.deepEqual(page.faults.filter((text) => !expected.test(text)), [], `errors in ${page.url()}`);
}

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Checks the page against WCAG 2.2 A and AA. */
export async function assertAccessible(page, what) {
  // Run by hand: the wrapper for Playwright opens a page of its own each time, for
  // frames, which these pages have none of, and hands over all that has passed.
  assert.equal(page.frames().length, 1, `${what} has frames, which are not looked at`);
  if (await page.evaluate(() => window.axe === undefined)) await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const runOnly = { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] };
    const { violations, passes } = await window.axe.run(document, { runOnly, resultTypes: ["violations"] });
    if (passes.length === 0) throw new Error("nothing was looked at");
    return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`);
  });
  assert.deepEqual(found, [], `${what} is not accessible`);
}

const screenshots = resolve(import.meta.dirname, "..", "test-results", "screenshots");

/** Keeps a picture of the whole page for people to look at. */
export async function picture(page, name) {
  await mkdir(screenshots, { recursive: true });
  await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
}
