// The test hub, the official client connected to it, and sockets without a
// client for what the client never does.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { connect as dial, createServer } from "node:net";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { promisify } from "node:util";

import { HttpTransportType, HubConnectionBuilder, JsonHubProtocol, LogLevel } from "@microsoft/signalr";
import { MessagePackHubProtocol } from "@microsoft/signalr-protocol-msgpack";

import WebSocket from "ws";

import { call as control } from "../account.mjs";
import { clientToken, within } from "../service.mjs";
import { stack } from "../stack.mjs";

const root = resolve(import.meta.dirname, "..", "..");

/**
 * Who serves the test hub: "" is the Go server by itself; "go" is the same
 * server behind the service; "peer" is an app server behind the service that
 * shares no code with either; "azure" and "native" are upstreams in these formats.
 */
export const behind = process.env.SIGNALBOX_BEHIND ?? "";
const native = behind === "native";
const upstream = native || behind === "azure";

/** What only some can do, and why: the reason to skip a test, or false. */
export const lacks = {
  streams: behind === "azure" && "Azure's upstream format has no streams",
  binary: native && "the native format is JSON both ways",
  headers: upstream && "an upstream isn't told the headers of clients",
  freedom: upstream && "messages of one connection are posted one after the other",
  earlyAnswers: native && "the answer to the last items is the answer",
  reconnectClose: upstream && "the REST API closes for good",
  onConnected: upstream && "a client can be asked once it is connected; refusals are in hubs/upstream",
};

/** What clients are told of an error that isn't for them. */
export const hidden = (method) => `An unexpected error occurred invoking '${method}' on the server.${native ? " HubException: The upstream answered with status code 500." : ""}`;

/** The command that serves the test hub. */
async function program() {
  if (upstream) return [process.execPath, [join(root, "e2e", "upstream", "server.mjs")]];
  if (behind === "peer") return [process.execPath, [join(root, "e2e", "behind", "peerserver.mjs")]];
  const file = join(root, "bin", "conformance-server");
  await promisify(execFile)("go", ["build", "-o", file, "./e2e/conformance/server"], { cwd: root });
  return [file, []];
}

/** The tenant's webhook secret: each rotation takes it from upstreams that have an older one. */
let secret;
async function webhookSecret() {
  const { api_url: api, api_token: token, tenants: [tenant] } = await stack();
  secret ??= control(api, { authorization: `Bearer ${token}` }, "POST", `/v1/tenants/${tenant.slug}/webhook-secrets/rotate`, {}, 201);
  return (await secret).body.secret;
}

let started = 0;
/** What the service calls a hub of the app at this URL, and the tenant that it is in. */
const served = new Map();

/** Starts the test hub; it ends with the test file. Returns its URL. */
export async function startHub() {
  const env = { ...process.env };
  const prefix = `${behind}${++started}`;
  const { service_url: front, tenants: [tenant] } = behind ? await stack() : { tenants: [] };
  if (behind) Object.assign(env, { SIGNALBOX_CONNECTION_STRING: tenant.connection_string, SIGNALBOX_HUB_PREFIX: prefix, SIGNALBOX_UPSTREAM: behind });
  if (native) env.SIGNALBOX_WEBHOOK_SECRET = await webhookSecret();
  const [file, args] = await program();
  const server = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"], env });
  after(() => server.stdin.end());
  const said = createInterface(server.stdout);
  const failed = new Promise((_, no) => server.once("exit", (code) => no(new Error(`the test hub ended with ${code}`))));
  failed.catch(() => {});
  const url = await within(Promise.race([new Promise((done) => said.once("line", done)), failed]), "the test hub to start");
  server.unref();
  if (behind) served.set(url, { front, tenant, prefix });
  return url;
}

/** An official client, not yet started. */
export function build(url, { transport, protocol = "json", options = {}, log, reconnect, stateful } = {}) {
  const builder = new HubConnectionBuilder()
    .withUrl(url, { ...(transport && { transport: HttpTransportType[transport] }), ...options })
    .withHubProtocol(protocol === "json" ? new JsonHubProtocol() : new MessagePackHubProtocol())
    .configureLogging(log ?? LogLevel.None);
  if (reconnect) builder.withAutomaticReconnect(reconnect);
  if (stateful) builder.withStatefulReconnect();
  return builder.build();
}

/** An official client that is connected; it is stopped when the test ends. */
export async function connect(t, url, how) {
  const connection = build(url, how);
  await within(connection.start(), `a client of ${url}`);
  t.after(() => connection.stop());
  return connection;
}

/** Keeps what a connection receives for a target. */
export function inbox(connection, target) {
  const received = [];
  let wake = () => {};
  connection.on(target, (...args) => {
    received.push(args.length === 1 ? args[0] : args);
    wake();
  });
  return {
    received,
    /** Waits until there are count messages, and returns them. */
    async of(count) {
      const enough = new Promise((done) => {
        wake = () => received.length >= count && done();
        wake();
      });
      await within(enough, `${count} of ${target}; there are ${received.length}`);
      return [...received];
    },
  };
}

/** Collects a stream: its items, and the error that ended it. */
export function collect(stream, { items: enough = Infinity } = {}) {
  const items = [];
  return within(
    new Promise((done) => {
      const subscription = stream.subscribe({
        next(item) {
          items.push(item);
          if (items.length === enough) {
            subscription?.dispose();
            done({ items });
          }
        },
        complete: () => done({ items }),
        error: (error) => done({ items, error }),
      });
    }),
    "a stream to end",
  );
}

/** The text of the error that a promise is rejected with. */
export async function failure(promise) {
  let value;
  try {
    value = await within(promise, "a failure");
  } catch (error) {
    return error.message;
  }
  assert.fail(`there is no error but ${JSON.stringify(value)}`);
}

/** Names that no other test uses. */
let names = 0;
export const unique = (prefix) => `${prefix}-${process.pid}-${++names}`;

/**
 * A way to the hub that can be cut: its URL, and the options of a client there.
 * Behind the service it leads to the service, where the app would send clients.
 */
export async function line(t, app, path) {
  const { front: url = app, tenant, prefix } = served.get(app) ?? {};
  const hub = tenant && prefix + path.slice(1);
  const open = new Set();
  let cuts = 0;
  let sockets = 0;
  const server = createServer((near) => {
    near.once("data", (head) => /^upgrade: websocket/im.test(head) && sockets++);
    const far = dial(Number(new URL(url).port), "127.0.0.1");
    for (const [from, to] of [[near, far], [far, near]]) {
      open.add(from);
      from.on("error", () => {}).on("close", () => (open.delete(from), to.destroy()));
      from.pipe(to);
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => server.close());
  const cut = () => {
    cuts++;
    for (const socket of open) socket.destroy();
  };
  t.after(cut);
  const near = `http://127.0.0.1:${server.address().port}`;
  const at = hub ? { url: `${near}/client/?hub=${hub}`, options: { accessTokenFactory: () => clientToken(tenant, { hub }) } } : { url: near + path };
  return { ...at, cut, cuts: () => cuts, sockets: () => sockets };
}

/** A negotiated connection without a client. */
export async function negotiate(url, query = "negotiateVersion=1", init = {}) {
  const answer = await fetch(`${url}/negotiate?${query}`, { method: "POST", ...init });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}

/** Negotiates, over an app's redirect to the service, and returns where the connection is. */
async function locate(url, query) {
  const answer = await negotiate(url, `negotiateVersion=1&${query}`);
  if (!answer.url) return { ...answer, at: `${url}?id=${answer.connectionToken}&${query}` };
  const at = new URL(answer.url);
  const service = await negotiate(`${at.origin}${at.pathname.replace(/\/$/, "")}`, `negotiateVersion=1&${at.searchParams}`, { headers: { authorization: `Bearer ${answer.accessToken}` } });
  at.searchParams.set("id", service.connectionToken);
  at.searchParams.set("access_token", answer.accessToken);
  return { ...service, at: at.href };
}

const end = "\u001e";
const ws = (url) => url.replace(/^http/, "ws");

/** A WebSocket that keeps each record or frame that it receives. */
export class Socket {
  messages = [];
  /** Whether each frame was binary. */
  frames = [];
  #wake = () => {};

  /** @param url the hub's, with the query of the upgrade */
  constructor(t, url, init) {
    this.socket = new WebSocket(ws(url), init);
    this.opened = within(
      new Promise((done, failed) => {
        this.socket.once("open", done);
        this.socket.once("unexpected-response", (_, { statusCode }) => failed(new Error(`${statusCode}`)));
        this.socket.once("error", failed);
      }),
      "a WebSocket to open",
    );
    this.opened.catch(() => {});
    this.socket.on("error", () => {});
    this.closed = new Promise((done) => this.socket.once("close", done));
    this.closed.then(() => this.#wake());
    this.socket.on("message", (data, binary = typeof data !== "string") => {
      this.frames.push(binary);
      if (binary) this.messages.push(new Uint8Array(data));
      else this.messages.push(...data.split(end).slice(0, -1).map((text) => JSON.parse(text)));
      this.#wake();
    });
    t.after(() => this.socket.terminate());
  }

  /** Sends text as it is, or each value as one JSON record of a single frame. */
  send(...values) {
    const text = values.map((value) => (typeof value === "string" ? value : JSON.stringify(value) + end)).join("");
    this.socket.send(text);
  }

  /** Waits for the next message that fits, and passes over those before it. */
  next(fits = () => true) {
    const found = new Promise((done, failed) => {
      this.#wake = () => {
        const i = this.messages.findIndex(fits);
        if (i >= 0) {
          this.#wake = () => {}; // what comes next is for the next call
          done(this.messages.splice(0, i + 1).at(-1));
        } else if (this.socket.readyState >= WebSocket.CLOSING) failed(new Error("the WebSocket closed before the message"));
      };
      this.#wake();
    });
    return within(found, `a message; there are ${JSON.stringify(this.messages)}`);
  }

  /** Waits for the end and returns the status. */
  end() {
    return within(this.closed, "the WebSocket to close");
  }
}

/** A WebSocket that has negotiated; the hub sees the query. */
export async function dialed(t, url, query = "") {
  const { at, connectionToken, connectionId } = await locate(url, query);
  const socket = new Socket(t, at);
  await socket.opened;
  return Object.assign(socket, { token: connectionToken, id: connectionId });
}

/** A WebSocket that has negotiated and shaken hands, in JSON. */
export async function shake(t, url, { version = 1 } = {}) {
  const socket = await dialed(t, url);
  socket.send({ protocol: "json", version });
  assert.deepEqual(await socket.next(), {});
  return socket;
}

/** What a completion answers to an invocation of a raw socket. */
export async function call(socket, { invocationId = unique("i"), ...message }) {
  socket.send({ type: 1, invocationId, ...message });
  return socket.next((m) => m.type === 3 && m.invocationId === invocationId);
}
