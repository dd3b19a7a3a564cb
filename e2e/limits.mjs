// Loaded before each file of tests: a test that hangs fails, with its name, instead
// of hanging the run. Node's own --test-timeout bounds whole files, and doesn't say
// which test it was.
import { writeFileSync } from "node:fs";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { relative } from "node:path";

/** How long one test may take, with all of its subtests: many times what any takes. */
const perTest = Number(process.env.E2E_TEST_SECONDS ?? 300) * 1000;
/** Where the runner looks for what runs. */
const current = process.env.E2E_CURRENT;

const runner = createRequire(import.meta.url)("node:test");
const { test } = runner;

/** test of node:test, in its forms, with a timeout unless it is given one. */
runner.test = Object.assign((...given) => {
  const body = typeof given.at(-1) === "function" ? given.pop() : undefined;
  const options = typeof given.at(-1) === "object" ? given.pop() : {};
  const noted = (t) => {
    if (current) writeFileSync(current, `${relative(import.meta.dirname, process.argv[1])}: ${t.name}`);
    return body(t);
  };
  return test(...given, { timeout: perTest, ...options }, body && noted);
}, test);
syncBuiltinESMExports();
