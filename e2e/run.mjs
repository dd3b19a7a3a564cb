// Runs all end-to-end tests against one fresh stack, or those of the folders that
// E2E_FOLDERS names, with commas. An argument names the file that gets the TAP report;
// beside it, files with a failure that passed three times by themselves are listed in
// flaky.json for testsum, and what they said the first time is kept in flaky/.
// Nothing hangs it: a test has E2E_TEST_SECONDS (limits.mjs), the run E2E_RUN_MINUTES.
import { spawn } from "node:child_process";
import { appendFile, cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";

import { startStack } from "./stack.mjs";

const report = process.argv[2];

/** How long all tests may take together. */
const runMinutes = Number(process.env.E2E_RUN_MINUTES ?? 45);
/** How long the tests have to clean up once they are told to end. */
const cleanUp = 15_000;
/** How many files with a failure are tried again, more are no accident; and how often. */
const mostAgain = 2;
const tries = 3;

const files = [];
const folders = process.env.E2E_FOLDERS?.split(",") ?? ["conformance", "behind", "upstream", "clients", "browser"];
for (const folder of folders) {
  const names = await readdir(join(import.meta.dirname, folder));
  files.push(...names.filter((name) => name.endsWith(".test.mjs")).map((name) => join(folder, name)));
}

const stack = await startStack({ issuer: folders.includes("browser") });
const current = join(dirname(stack.file), "current-test"); // see limits.mjs

let stopped = false;
let running;
const stop = () => {
  stopped = true;
  running?.kill("SIGTERM");
};
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, stop);
const late = setTimeout(async () => {
  const test = await readFile(current, "utf8").catch(() => "none");
  console.error(`The end-to-end tests are stopped: they may take ${runMinutes} minutes together (E2E_RUN_MINUTES). The test that began last: ${test}`);
  stop();
  setTimeout(() => running?.kill("SIGKILL"), cleanUp).unref();
}, runMinutes * 60_000);

/** Runs one file and resolves to its TAP report and whether all went well. */
async function run(file) {
  const tap = join(dirname(stack.file), "report.tap");
  await writeFile(tap, "");
  const reporters = ["--test-reporter=spec", "--test-reporter-destination=stdout", "--test-reporter=tap", `--test-reporter-destination=${tap}`];
  // What a test that failed has left open would keep its file from ending.
  running = spawn(process.execPath, ["--import", join(import.meta.dirname, "limits.mjs"), "--test", "--test-force-exit", ...reporters, file], {
    cwd: import.meta.dirname,
    env: { ...process.env, SIGNALBOX_DEV_JSON: stack.file, E2E_CURRENT: current },
    stdio: ["inherit", "pipe", "inherit"],
  });
  createInterface(running.stdout).on("line", (line) => {
    if (!/^ℹ (tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) /.test(line)) console.log(line); // but for its sums
  });
  const code = await new Promise((done) => running.once("close", done));
  return { file, ok: code === 0, tap: await readFile(tap, "utf8") };
}

// One file at a time: they share two cores, and one of them kills edges.
const results = [];
for (const file of files) {
  if (stopped) break;
  console.log(`==> ${file}`);
  const began = performance.now();
  results.push(await run(file));
  console.log(`    ${results.at(-1).ok ? "ok" : "FAILED"} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
}

const failed = results.filter(({ ok }) => !ok);
if (failed.length > 0 && report) await cp(stack.logs, `${report}.logs`, { recursive: true });
if (failed.length <= mostAgain && report) for (const result of failed) await again(result);

/** Tries a file with a failed test again; the result becomes that of the last try. */
async function again(result) {
  const first = result.tap;
  // A file that broke off hasn't run all of its tests.
  if (!/^\s*not ok /m.test(first) || /^\s*not ok \d+ - \S*\.test\.mjs$/m.test(first) || /failureType: '(?:uncaughtException|unhandledRejection)'/.test(first)) return;
  let last;
  for (let n = 1; n <= tries; n++) {
    if (stopped) return;
    console.log(`==> again, ${n} of ${tries}: ${result.file}`);
    last = await run(result.file);
    if (!last.ok) return;
  }
  const kept = join(dirname(report), "flaky");
  await mkdir(kept, { recursive: true });
  const name = `${result.file.replaceAll("/", "-")}.tap`;
  await writeFile(join(kept, name), first);
  const names = [...first.matchAll(/^\s*not ok \d+ - (.*)$/gm)].map(([, name]) => name);
  await appendFile(join(dirname(report), "flaky.json"), `${JSON.stringify({ Suite: "tap", Package: `e2e/${result.file}`, Test: names.join(", "), Kept: join("test-results", "flaky", name) })}\n`);
  Object.assign(result, last);
}

clearTimeout(late);
if (report) await writeFile(report, results.map(({ tap }) => tap).join(""));
const devCode = await stack.stop();
if (devCode !== 0) console.error(`dev ended with ${devCode}:\n${stack.said.join("\n")}`);
process.exitCode = !stopped && results.every(({ ok }) => ok) && devCode === 0 ? 0 : 1;
