// The commands of some pages in docs run as they stand, with a shell, curl and the
// variables that the pages name.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";

import { call, signUp } from "../account.mjs";
import { stack } from "../stack.mjs";

const { api_url: api } = await stack();
const { session, tenant } = await signUp(api);
const { body: { secret } } = await call(api, session, "POST", "/v1/api-tokens", { name: "docs" }, 201);
const root = join(import.meta.dirname, "..", "..");

/** The shell commands of a page. */
async function commands(page) {
  const text = await readFile(join(root, "docs", page), "utf8");
  return [...text.matchAll(/```sh\n([^`]+)```/g)].map(([, command]) => command);
}

const missing = spawnSync("curl", ["--version"]).error && "curl is not installed";

for (const page of ["tokens.md", "permissions.md", "upstream.md"]) {
  describe(page, { skip: missing }, async () => {
    const all = await commands(page);
    test("has commands", () => assert.ok(all.length > 0));
    for (const command of all) {
      test(command.split("\n")[0].slice(0, 80), async () => {
        // On the pages the tenant is called acme or demo.
        const script = command.replaceAll(/\/tenants\/(acme|demo)\//g, `/tenants/${tenant.slug}/`);
        const run = spawnSync("sh", ["-c", `curl() { command curl --silent --show-error --fail-with-body "$@"; }\n${script}`], { env: { ...process.env, CONSOLE: api, API_URL: api, API_TOKEN: secret }, encoding: "utf8" });
        assert.equal(run.status, 0, `${run.stdout}${run.stderr}`);
        assert.ok(Object.keys(JSON.parse(run.stdout)).length > 0);
        if (command.includes("permission-checks")) assert.equal(JSON.parse(run.stdout).allowed, true, run.stdout);
      });
    }
  });
}
