// Runs all end-to-end tests against one fresh stack, or those of the folders that
// E2E_FOLDERS names, with commas. An argument names the file that gets the TAP report.
// Nothing hangs it: a test has E2E_TEST_SECONDS (limits.mjs), the run E2E_RUN_MINUTES.
import { spawn } from "node:child_process";
import { cp, readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { startStack } from "./stack.mjs";

const report = process.argv[2];

/** How long all tests may take together. */
const runMinutes = Number(process.env.E2E_RUN_MINUTES ?? 45);
/** How long the tests have to clean up once they are told to end. */
const cleanUp = 15_000;

const files = [];
for (const folder of process.env.E2E_FOLDERS?.split(",") ?? ["conformance", "behind", "upstream", "clients", "browser"]) {
  const names = await readdir(join(import.meta.dirname, folder));
  files.push(...names.filter((name) => name.endsWith(".test.mjs")).map((name) => join(folder, name)));
}

const stack = await startStack();
const current = join(dirname(stack.file), "current-test"); // see limits.mjs
const reporters = ["--test-reporter=spec", "--test-reporter-destination=stdout"];
if (report) reporters.push("--test-reporter=tap", `--test-reporter-destination=${report}`);
// One file at a time: they share two cores, and one of them kills edges.
// What a test that failed has left open would keep its file from ending.
const tests = spawn(process.execPath, ["--import", join(import.meta.dirname, "limits.mjs"), "--test", "--test-force-exit", "--test-concurrency=1", ...reporters, ...files], {
  cwd: import.meta.dirname,
  env: { ...process.env, SIGNALBOX_DEV_JSON: stack.file, E2E_CURRENT: current },
  stdio: "inherit",
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => tests.kill("SIGTERM"));
const late = setTimeout(async () => {
  const running = await readFile(current, "utf8").catch(() => "none");
  console.error(`The end-to-end tests are stopped: they may take ${runMinutes} minutes together (E2E_RUN_MINUTES). The test that began last: ${running}`);
  tests.kill("SIGTERM");
  setTimeout(() => tests.kill("SIGKILL"), cleanUp).unref();
}, runMinutes * 60_000);
const code = await new Promise((done) => tests.once("exit", done));
clearTimeout(late);

if (code !== 0 && report) await cp(stack.logs, `${report}.logs`, { recursive: true });
const devCode = await stack.stop();
if (devCode !== 0) console.error(`dev ended with ${devCode}:\n${stack.said.join("\n")}`);
process.exitCode = code === 0 && devCode === 0 ? 0 : 1;
