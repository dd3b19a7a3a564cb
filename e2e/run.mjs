// Runs all end-to-end tests against one fresh stack, or those of the folders that
// E2E_FOLDERS names, with commas. An argument names the file that gets the TAP report.
import { spawn } from "node:child_process";
import { cp, readdir } from "node:fs/promises";
import { join } from "node:path";

import { startStack } from "./stack.mjs";

const report = process.argv[2];

const files = [];
for (const folder of process.env.E2E_FOLDERS?.split(",") ?? ["conformance", "behind", "upstream", "clients", "browser"]) {
  const names = await readdir(join(import.meta.dirname, folder));
  files.push(...names.filter((name) => name.endsWith(".test.mjs")).map((name) => join(folder, name)));
}

const stack = await startStack();
const reporters = ["--test-reporter=spec", "--test-reporter-destination=stdout"];
if (report) reporters.push("--test-reporter=tap", `--test-reporter-destination=${report}`);
// One file at a time: they share two cores, and one of them kills edges.
const tests = spawn(process.execPath, ["--test", "--test-concurrency=1", ...reporters, ...files], {
  cwd: import.meta.dirname,
  env: { ...process.env, SIGNALBOX_DEV_JSON: stack.file },
  stdio: "inherit",
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => tests.kill("SIGTERM"));
const code = await new Promise((done) => tests.once("exit", done));

if (code !== 0 && report) await cp(stack.logs, `${report}.logs`, { recursive: true });
const devCode = await stack.stop();
if (devCode !== 0) console.error(`dev ended with ${devCode}:\n${stack.said.join("\n")}`);
process.exitCode = code === 0 && devCode === 0 ? 0 : 1;
