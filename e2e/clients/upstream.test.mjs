// Hubs whose clients an upstream serves: the three examples, Azure's format, and
// upstreams that misbehave.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { createServer as createSocketServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";

import { Webhook } from "standardwebhooks";

import { call } from "../account.mjs";
import { connect, eventually, matrix, within } from "../service.mjs";
import { stack } from "../stack.mjs";

const { api_url: api, api_token: apiToken, edge_urls: edges, tenants: [demo, other] } = await stack();
const bearer = { authorization: `Bearer ${apiToken}` };
const examples = join(import.meta.dirname, "..", "..", "examples");

/** Gives a hub an upstream and waits until every edge has it. */
async function serve(t, hub, upstream) {
  await call(api, bearer, "PATCH", `/v1/tenants/demo/hubs/${hub}`, { upstream });
  t.after(() => call(api, bearer, "DELETE", `/v1/tenants/demo/hubs/${hub}`, undefined, 204));
}

const deliveries = async (query) => (await call(api, bearer, "GET", `/v1/tenants/demo/upstream-deliveries?${new URLSearchParams(query)}`)).body.deliveries;

const rotate = async () => (await call(api, bearer, "POST", "/v1/tenants/demo/webhook-secrets/rotate", {}, 201)).body.secret;

/** Starts a server that is closed with the test and returns its address. */
async function listening(t, server) {
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => {
    server.closeAllConnections?.();
    return new Promise((done) => server.close(done));
  });
  return `http://127.0.0.1:${server.address().port}`;
}

/** An upstream in this process that keeps what was posted to it. */
async function upstream(t, answer) {
  const posted = [];
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    posted.push({ path: request.url, headers: request.headers, body });
    await answer(request, response, body);
  });
  return { url: await listening(t, server), posted };
}

/** Runs an example until the test ends and returns its address. */
async function example(t, command, args, env) {
  const program = spawn(command, args, { env: { ...process.env, ...env, PORT: "0" }, stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => program.kill());
  const line = new Promise((done, failed) => {
    program.once("error", failed);
    program.once("exit", (code) => failed(new Error(`${command} ended with ${code}`)));
    createInterface(program.stdout).once("line", done);
  });
  return (await within(line, `${command} to listen`)).replace("listening on ", "");
}

/** What socat does: runs the script for each connection. */
function shell(t, env) {
  const running = new Set();
  t.after(() => running.forEach((script) => script.kill()));
  const server = createSocketServer((socket) => {
    const script = spawn(join(examples, "upstream-curl", "chat.sh"), { env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "inherit"] });
    running.add(script);
    script.once("exit", () => running.delete(script));
    socket.on("error", () => script.kill());
    socket.on("close", () => script.kill());
    script.stdin.on("error", () => {});
    socket.pipe(script.stdin);
    script.stdout.pipe(socket);
  });
  return listening(t, server);
}

/** What each example needs, and how it is started. */
const needs = { node: [], python: ["python3"], curl: ["bash", "curl", "jq", "openssl", "od"] };
const starters = {
  node: (t, env) => example(t, process.execPath, [join(examples, "upstream-node", "chat.mjs")], env),
  python: (t, env) => example(t, "python3", [join(examples, "upstream-python", "chat.py")], env),
  curl: shell,
};

for (const [name, start] of Object.entries(starters)) {
  const missing = needs[name].filter((program) => spawnSync(program, ["--version"], { stdio: "ignore" }).error);
  const skip = missing.length > 0 && `not installed: ${missing}`;
  test(`examples/upstream-${name} is a chat room`, { skip }, async (t) => {
    const hub = `example-${name}`;
    const env = { SIGNALBOX_URL: demo.rest_url, SIGNALBOX_KEY: demo.access_key, WEBHOOK_SECRET: await rotate() };
    const url = await start(t, env);
    await serve(t, hub, { mode: "native", rules: [{ url: `${url}/{event}` }], timeout_seconds: 15 });

    const options = { hub, targets: ["notice", "message"] };
    const ann = await connect(t, edges[0], demo, { ...options, user: "ann" });
    const bob = await connect(t, edges[1], demo, { ...options, user: "bob", protocol: "messagepack" });
    assert.equal((await ann.connection.invoke("join", "blue room")) ?? null, null);
    await bob.connection.invoke("join", "blue room");
    await ann.message(({ target, args }) => target === "notice" && args[0] === "bob is here", "bob's notice");

    const at = await bob.connection.invoke("say", "blue room", "hello <\u{1f600}>");
    assert.ok(Math.abs(Date.parse(at) - Date.now()) < 60_000, `say answered ${at}`);
    const heard = await ann.message(({ target }) => target === "message", "bob's message");
    assert.deepEqual(heard.args, ["bob", "hello <\u{1f600}>"]);

    await assert.rejects(ann.connection.invoke("join", ""), /HubException: Which room\?$/);
    await assert.rejects(ann.connection.invoke("dance"), /HubException: Method does not exist\.$/);

    const items = [];
    const streamed = new Promise((complete, error) => bob.connection.stream("countdown", 3).subscribe({ next: (n) => items.push(n), complete, error }));
    await within(streamed, "the stream's end");
    assert.deepEqual(items, [3, 2, 1, 0]);

    const forged = await fetch(url, {
      method: "POST",
      headers: { "webhook-id": "x", "webhook-timestamp": String(Math.floor(Date.now() / 1000)), "webhook-signature": "v1,AAAA" },
      body: JSON.stringify({ type: "invocation", target: "countdown", arguments: [0] }),
    });
    assert.equal(forged.status, 401, "a wrong signature");
  });
}

test("functions written for Azure SignalR Service serve every transport and protocol", async (t) => {
  const hub = "azure-functions";
  const { url, posted } = await upstream(t, async (request, response, body) => {
    const signature = createHmac("sha256", demo.access_key).update(request.headers["x-asrs-connection-id"]).digest("hex");
    if (!request.headers["x-asrs-signature"].split(",").includes(`sha256=${signature}`)) return response.writeHead(401).end();
    if (request.headers["x-asrs-category"] === "connections" || request.headers["x-asrs-event"] === "nothing") return response.writeHead(204).end();
    if (request.headers["x-asrs-event"] === "missing") return response.writeHead(404).end("no such function");
    // What a function does with the SDK's protocol: read the invocation, answer with a frame.
    if (request.headers["content-type"] === "application/json") {
      const { invocationId, arguments: args } = JSON.parse(body);
      return response.end(`${JSON.stringify({ type: 3, invocationId, result: args[0] })}\x1e`);
    }
    const id = body.subarray(3, 4 + (body[3] & 0x1f)); // fixstr
    const completion = Buffer.concat([Buffer.from([0x95, 0x03, 0x80]), id, Buffer.from([0x03, 0xa4]), Buffer.from("pack")]);
    response.end(Buffer.concat([Buffer.from([completion.length]), completion]));
  });
  await serve(t, hub, { rules: [{ url: `${url}/api/{hub}/{category}/{event}?code=secret` }] });
  for (const [transport, protocol] of matrix) {
    const client = await connect(t, edges[1], demo, { transport, protocol, hub, user: "ann" });
    assert.equal(await client.connection.invoke("echo", "text"), protocol === "json" ? "text" : "pack");
    assert.equal((await client.connection.invoke("nothing")) ?? null, null);
    await assert.rejects(client.connection.invoke("missing"), /^Error: Invocation failed, status code 404$/);
    await client.stop();
  }
  const count = (event) => posted.filter(({ headers }) => headers["x-asrs-event"] === event).length;
  await eventually(() => count("disconnected") === matrix.length, "the disconnected events");
  assert.equal(count("connected"), matrix.length);
  assert.ok(posted.every(({ path }) => path.startsWith(`/api/${hub}/`) && path.endsWith("?code=secret")));
});

test("both secrets sign during a rotation, as Standard Webhooks says", async (t) => {
  const hub = "rotated";
  const { url, posted } = await upstream(t, (_, response) => response.writeHead(204, { "webhook-allowed-origin": "*" }).end());
  const former = await rotate();
  await serve(t, hub, { mode: "native", rules: [{ url }] });
  const client = await connect(t, edges[2], demo, { hub, user: "ann" });
  const latest = await rotate();
  const verifies = (secret, { body, headers }) => {
    try {
      return new Webhook(secret).verify(body.toString(), headers).target;
    } catch {
      return undefined;
    }
  };
  await eventually(async () => {
    await client.connection.invoke("say", "hello");
    return verifies(latest, posted.at(-1)) === "say";
  }, "the newer secret to sign");
  const last = posted.at(-1);
  assert.match(last.headers["webhook-signature"], /^v1,[A-Za-z0-9+/=]+ v1,[A-Za-z0-9+/=]+$/);
  assert.equal(verifies(former, last), "say");
  assert.equal(verifies(former, { ...last, body: `${last.body} ` }), undefined);
  assert.equal(verifies(latest, { ...last, headers: { ...last.headers, "webhook-id": "another" } }), undefined);
  assert.equal(verifies(`whsec_${Buffer.alloc(24).toString("base64")}`, last), undefined);
});

test("an upstream that hangs or floods is an error in time, and the log tells which", async (t) => {
  const hub = "broken";
  const { url } = await upstream(t, (request, response) => {
    if (request.url.endsWith("/flood")) return response.end("x".repeat(2 << 20));
    if (!request.url.endsWith("/hang")) response.writeHead(204).end();
  });
  await serve(t, hub, { rules: [{ url: `${url}/{event}` }], timeout_seconds: 1 });
  const client = await connect(t, edges[0], demo, { hub });
  await assert.rejects(within(client.connection.invoke("hang"), "the error"), /^Error: Invocation failed, status code 500$/);
  await assert.rejects(client.connection.invoke("flood"), /^Error: Invocation failed, response too large\.$/);
  await client.connection.invoke("fine");
  await eventually(async () => (await deliveries({ hub })).length === 4, "the log to have all");
  const outcomes = Object.fromEntries((await deliveries({ hub })).map(({ event, outcome, error }) => [event, error ?? outcome]));
  assert.deepEqual(outcomes, { connected: "delivered", hang: "upstream_timeout", flood: "upstream_response_too_large", fine: "delivered" });
  assert.deepEqual((await deliveries({ hub, outcome: "failed" })).map(({ event }) => event), ["flood", "hang"]);
});

test("a delivery can be sent again, and no other tenant sees it", async (t) => {
  const hub = "replayed";
  const { url, posted } = await upstream(t, (_, response) => response.writeHead(204).end());
  await serve(t, hub, { rules: [{ url }] });
  const client = await connect(t, edges[0], demo, { hub, user: "ann" });
  await client.connection.invoke("once", { n: 1 });
  const found = async () => (await deliveries({ hub, event: "once" }))[0];
  await eventually(async () => (await found()) !== undefined, "the delivery in the log");
  const first = await found();
  assert.equal(first.request.text, posted.at(-1).body.toString());
  const { body: again } = await call(api, bearer, "POST", `/v1/tenants/demo/upstream-deliveries/${first.id}/replay`);
  assert.deepEqual([again.outcome, again.status, again.replay_of, again.attempt], ["delivered", 204, first.id, 2]);
  const [before, after] = posted.slice(-2);
  assert.deepEqual(after.body, before.body);
  assert.equal(after.headers["x-asrs-signature"], before.headers["x-asrs-signature"]);
  await call(api, bearer, "POST", `/v1/tenants/${other.slug}/upstream-deliveries/${first.id}/replay`, undefined, 404);
  const { body } = await call(api, bearer, "GET", `/v1/tenants/${other.slug}/upstream-deliveries`);
  assert.deepEqual(body.deliveries, []);
});

test("an upstream that nobody may reach, or that doesn't agree, isn't saved", async (t) => {
  const { url } = await upstream(t, (_, response) => response.writeHead(204).end());
  await rotate();
  for (const [rules, mode] of [
    [[{ url: "http://10.0.0.1/" }], "azure"],
    [[{ url: "http://169.254.169.254/latest/meta-data" }], "azure"],
    [[{ url }], "native"],
  ]) {
    const { body } = await call(api, bearer, "PUT", "/v1/tenants/demo/hubs/refused", { upstream: { mode, rules } }, 400);
    assert.equal(body.errors[0].field, "upstream.rules.0.url", JSON.stringify(body));
  }
});
