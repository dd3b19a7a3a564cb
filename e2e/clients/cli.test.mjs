// The command line against the whole product: what it prints, how it ends, and that
// listening misses nothing.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";

import { signUp } from "../account.mjs";
import { person, program } from "../cli.mjs";
import { eventually } from "../service.mjs";
import { stack } from "../stack.mjs";

const { api_url: api, tenants: [demo] } = await stack();
const exec = promisify(execFile);

/** Somebody who has signed up in the console and signed in on the command line. */
async function signedIn(t, env) {
  const { email, password, tenant } = await signUp(api);
  const who = await person(t, env);
  await who.ok(["login", "--email", email, "--password-stdin"], `${password}\n`);
  return { ...who, email, password, tenant };
}

test("sign in, see who, sign out; the session is kept for its owner alone and ends at the service", async (t) => {
  const ann = await signedIn(t);
  const file = join(ann.dir, "config.json");
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.equal((await ann.json(["whoami"])).user.email, ann.email);
  const sessions = await ann.json(["user", "sessions", "list"]);
  assert.match(sessions.find(({ current }) => current).device, /^Signalbox CLI on /);

  const kept = JSON.parse(await readFile(file, "utf8")).profiles.default.session;
  await ann.ok(["logout"]);
  assert.equal((await ann.run(["whoami"])).status, 4);
  const response = await fetch(`${api}/v1/session`, { headers: { cookie: kept } });
  assert.equal(response.status, 401, "the session lives on at the service");
  assert.ok(!(await readFile(file, "utf8")).includes(kept));
});

test("each group of commands, as JSON with the API's own names", async (t) => {
  const ann = await signedIn(t);
  const slug = ann.tenant.slug;
  // Without a terminal nothing is asked, and what can't be undone needs --yes.
  const { status, err } = await ann.run(["tenants", "delete", slug]);
  assert.equal(status, 2);
  assert.match(err, /--yes/);

  const made = await ann.json(["tenants", "create", "Shop", "--slug", `${slug}-2`]);
  assert.ok(made.key.secret && made.tenant.slug === `${slug}-2`);
  assert.deepEqual((await ann.ok(["tenants", "list", "-q"])).split("\n").sort(), [slug, `${slug}-2`].sort());
  assert.equal((await ann.json(["tenants", "list", "--limit", "1"])).length, 1);
  await ann.ok(["tenants", "use", slug]);
  assert.equal((await ann.json(["tenants", "set", "--name", "New name"])).name, "New name");
  assert.equal((await ann.json(["tenants", "suspend", "--yes"])).status, "suspended");
  assert.equal((await ann.json(["tenants", "resume"])).status, "active");

  assert.equal((await ann.json(["keys", "list"])).length, 2);
  assert.equal((await ann.ok(["keys", "rotate", "secondary", "--overlap", "1h", "-q"])).length, 44);
  assert.equal((await ann.json(["keys", "list"])).length, 3);
  await ann.ok(["keys", "end-overlap", "secondary", "--yes"]);

  const hub = await ann.json(["hubs", "create", "scores", "--client-permission", "joinGroup:room-*", "--history-seconds", "180", "--method-rate", "say=5"]);
  assert.deepEqual([hub.implicit, hub.client_permissions, hub.history.seconds, hub.method_rates.say.per_second], [false, ["joinGroup:room-*"], 180, 5]);
  // What was shown can be changed and put back.
  const again = await ann.json(["hubs", "set", "scores", "--file", "-", "--gaps", "tell"], JSON.stringify(hub));
  assert.deepEqual([again.gaps, again.client_permissions], ["tell", hub.client_permissions]);
  assert.equal((await ann.json(["hubs", "return", "scores", "1"])).gaps, "close");
  assert.equal((await ann.json(["hubs", "versions", "scores"])).length, 3);
  await ann.ok(["hubs", "delete", "scores", "--yes"]);
  assert.equal((await ann.json(["hubs", "show", "scores"])).implicit, true);

  const limit = await ann.json(["limits", "set", "max_connections", "10", "--until", "1d"]);
  assert.deepEqual([limit.source, limit.max], ["override", 10]);
  await ann.ok(["limits", "reset", "max_connections"]);
  assert.equal((await ann.json(["limits", "show", "max_connections"])).source, "plan");
  assert.ok((await ann.json(["limits", "list"])).length > 30);

  assert.match(await ann.ok(["tokens", "client", "chat", "-q"]), /^ey/);
  assert.equal((await ann.json(["tokens", "check", "chat", "sendToGroup", "room-7", "--permission", "sendToGroup:room-*"])).allowed, true);
  const secret = await ann.ok(["api-tokens", "create", "ci", "--scope", "tenants:read", "-q"]);
  const machine = await person(t, { SIGNALBOX_TOKEN: secret });
  assert.equal((await machine.json(["tenants", "show", slug])).slug, slug);
  const refused = await machine.run(["hubs", "create", "x", "-t", slug]);
  assert.equal(refused.status, 3);
  assert.match(refused.err, /insufficient_scope, HTTP 403/);

  const revoked = await ann.json(["revocations", "create", "user", "ann", "--yes"]);
  await ann.ok(["revocations", "lift", revoked.id, "--yes"]);
  assert.equal((await ann.json(["members", "list"]))[0].role, "owner");
  assert.equal((await ann.json(["budget", "set", "--messages", "5000", "--step", "90", "--yes"])).budget.messages, 5000);
  assert.ok((await ann.json(["plans", "list"])).length >= 3);
  assert.ok((await ann.json(["usage", "show"])).points.length > 0);
  assert.equal((await ann.json(["usage", "statement"])).final, false);
  assert.equal((await ann.json(["audit", "verify"])).intact, true);
  assert.ok((await ann.json(["audit", "list"])).some(({ action }) => action.startsWith("hub")));
  assert.deepEqual(await ann.json(["domains", "list"]), []);
  assert.equal((await ann.json(["api", "GET", "/v1/tenants/{tenant}"])).slug, slug);
  await ann.ok(["tenants", "delete", `${slug}-2`, "--yes"]);
});

test("statuses and messages tell what was wrong", async (t) => {
  const ann = await signedIn(t);
  for (const [args, status, told] of [
    [["frobnicate"], 2, /unknown command/],
    [["tenants", "show", "--no-such-flag"], 2, /unknown flag/],
    [["tenants", "list", "-o", "yaml"], 2, /accepted is table or json/],
    [["hubs", "set", "chat", "--keep-alive", "9999"], 2, /keep_alive_seconds is too large; accepted: .*1 to 300[^]*docs\/errors\/invalid[^]*request req_/],
    [["publish", "chat", "hello", "{broken"], 2, /begins like JSON and is none/],
    [["tenants", "show", "there-is-no-such"], 5, /not_found, HTTP 404/],
    [["limits", "set", "max_connections", "999999", "--until", "1d"], 2, /accepted/],
  ]) {
    const ended = await ann.run(args);
    assert.equal(ended.status, status, `${args}: ${ended.err}`);
    assert.match(ended.err, told);
    assert.equal(ended.out, "", "errors are not on the standard output");
  }
  const nobody = await person(t);
  assert.equal((await nobody.run(["tenants", "list"])).status, 4);
  const away = await person(t, { SIGNALBOX_API_URL: "http://127.0.0.1:1", SIGNALBOX_TOKEN: "sbt_x" });
  assert.equal((await away.run(["tenants", "list"])).status, 1);
  const open = await person(t, { SIGNALBOX_API_URL: "http://signalbox.example", SIGNALBOX_TOKEN: "sbt_x" });
  const refused = await open.run(["tenants", "list"]);
  assert.equal(refused.status, 2);
  assert.match(refused.err, /in the clear/);
});

test("completion: the script for bash loads and completes commands and tenants", async (t) => {
  const ann = await signedIn(t);
  for (const shell of ["bash", "zsh", "fish", "powershell"]) assert.ok((await ann.ok(["completion", shell])).length > 1000);
  const script = join(ann.dir, "completion.bash");
  const check = `set -e
    "$1" completion bash > "$2"
    bash -n "$2"
    # What bash-completion gives to scripts, in short.
    _get_comp_words_by_ref() { words=("\${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=\${COMP_WORDS[COMP_CWORD]}; prev=\${COMP_WORDS[COMP_CWORD-1]}; }
    __ltrim_colon_completions() { :; }
    compopt() { :; }
    source "$2"
    try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=\${#COMP_LINE}; COMP_TYPE=9; COMPREPLY=(); __start_signalbox; echo "\${COMPREPLY[@]}"; }
    try signalbox pub
    try signalbox hubs sh
    try signalbox tenants use "$3"`;
  const { stdout } = await exec("bash", ["-c", check, "bash", program, script, ann.tenant.slug.slice(0, 8)], { env: { ...ann.environment, PATH: `${join(program, "..")}:${process.env.PATH}` } });
  const [publish, show, tenant] = stdout.split("\n").map((line) => line.trim());
  assert.match(publish, /^publish/);
  assert.match(show, /^show/);
  assert.ok(tenant.startsWith(ann.tenant.slug), stdout);
});

describe("listen gets what publish sends", () => {
  const numbers = (lines) => lines.map((line) => JSON.parse(line)).filter(({ target }) => target === "n").map(({ arguments: [n] }) => n);

  test("in both protocols, each once and in order, over edges that are killed", async (t) => {
    const hub = `cli-${randomBytes(4).toString("hex")}`;
    const ann = await person(t, { SIGNALBOX_CONNECTION_STRING: demo.connection_string });
    const listeners = ["json", "messagepack"].map((protocol) => ann.start("listen", hub, "--protocol", protocol, "--group", "blue", "--user", "ann", "-o", "json"));
    for (const l of listeners) await eventually(() => l.said.err.includes("connected to"), "the listener to connect");
    let next = 0;
    const send = async (count, ...to) => {
      const input = Array.from({ length: count }, () => `${next++}\n`).join("");
      assert.equal(await ann.ok(["publish", hub, "n", "--lines", "--wait", "--retries", "20", ...to], input), `${count} published`);
    };
    await send(5);
    await send(5, "--group", "blue");
    await send(5, "--user", "ann");
    assert.equal(await ann.ok(["publish", hub, "n", "--group", "red", "-q", "--", "-1"]).then((position) => position.length > 10), true);
    for (const l of listeners) await eventually(() => numbers(l.lines).length >= next, "the messages to arrive");

    const { pids, edge_urls: edges } = await stack();
    for (const pid of pids.edges) process.kill(pid, "SIGKILL");
    await send(10);
    await send(5, "--group", "blue");
    for (const l of listeners) {
      await eventually(() => numbers(l.lines).length >= next, "what was missed to be printed", 60_000);
      assert.ok(l.said.err.includes("connection lost"), l.said.err);
    }
    await send(5, "--user", "ann");
    for (const l of listeners) {
      await eventually(() => numbers(l.lines).length >= next, "the listener to go on", 60_000);
      assert.deepEqual(numbers(l.lines), Array.from({ length: next }, (_, i) => i));
      l.child.kill("SIGINT");
      assert.equal((await l.ended).status, 0, "Ctrl-C is how one stops listening");
    }
    // Who comes next finds them as they were.
    for (const edge of edges) {
      await eventually(async () => (await fetch(`${edge}/api/health`, { method: "HEAD" }).catch(() => ({}))).status === 200, "the edges to serve again", 60_000);
    }
  });

  test("from further back: --last, --since, --after; and history", async (t) => {
    const hub = `cli-${randomBytes(4).toString("hex")}`;
    const ann = await person(t, { SIGNALBOX_CONNECTION_STRING: demo.connection_string });
    const input = Array.from({ length: 10 }, (_, i) => `${i}\n`).join("");
    const positions = (await ann.ok(["publish", hub, "n", "--lines", "--wait", "--retries", "20", "-q"], input)).split("\n");
    assert.equal(positions.length, 10);
    for (const [args, want] of [
      [["--last", "3", "--count", "3"], [7, 8, 9]],
      [["--since", "1h", "--count", "10"], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
      [["--after", positions[6], "--count", "3"], [7, 8, 9]],
    ]) {
      assert.deepEqual(numbers((await ann.ok(["listen", hub, "-o", "json", ...args])).split("\n")), want, args.join(" "));
    }
    const kept = await ann.json(["history", hub, "--last", "2"]);
    assert.deepEqual(kept.map(({ arguments: [n], position }) => [n, position]), [[8, positions[8]], [9, positions[9]]]);
  });

  test("who is there, groups and presence; a refusal ends it with the reason", async (t) => {
    const hub = `cli-${randomBytes(4).toString("hex")}`;
    const ann = await person(t, { SIGNALBOX_CONNECTION_STRING: demo.connection_string });
    const l = ann.start("listen", hub, "--user", "ann", "--group", "blue", "-o", "json");
    await eventually(() => l.said.err.includes("connected to"), "the listener to connect");
    const [{ connectionId, userId }] = await ann.json(["connections", "list", hub]);
    assert.equal(userId, "ann");
    assert.deepEqual((await ann.json(["users", "list", hub])).map(({ userId: u }) => u), ["ann"]);
    assert.equal(await ann.ok(["connections", "list", hub, "--group", "blue", "--count", "-q"]), "1");
    await ann.ok(["groups", "add", hub, "red", "--user", "ann"]);
    await eventually(async () => (await ann.ok(["groups", "list", hub, "-q"])) === "blue\nred", "the group to be there");
    await ann.ok(["presence", "set", hub, "red", '{"typing": true}', "--connection", connectionId]);
    assert.deepEqual((await ann.json(["presence", "list", hub, "red"]))[0].state, { typing: true });
    const asked = await ann.run(["invoke", hub, connectionId, "ask", "42"]);
    assert.match(asked.err, /listen answers nothing/);
    await ann.ok(["connections", "close", hub, "--all", "--reason", "enough", "--yes"]);
    const { status, err } = await l.ended;
    assert.equal(status, 1);
    assert.match(err, /enough/);

    const wrong = await person(t, { SIGNALBOX_CONNECTION_STRING: demo.connection_string.replace(/AccessKey=[^;]+/, `AccessKey=${randomBytes(32).toString("base64")}`) });
    const refused = await wrong.run(["publish", hub, "n", "1"]);
    assert.equal(refused.status, 4);
  });
});
