// What a backend and a client of the service need: tokens, the REST API, and the
// official SignalR client, unmodified.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";

import { HttpTransportType, HubConnectionBuilder, JsonHubProtocol, LogLevel } from "@microsoft/signalr";
import { MessagePackHubProtocol } from "@microsoft/signalr-protocol-msgpack";

/** How long a test waits for what must happen; never a performance goal. */
export const patience = 15_000;

/** Resolves as the promise does, or rejects with what was waited for. */
export function within(promise, what, ms = patience) {
  let timer;
  const late = new Promise((_, failed) => {
    timer = setTimeout(() => failed(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Asks until the answer is true. For what nothing announces. */
export async function eventually(holds, what, ms = patience) {
  const deadline = Date.now() + ms;
  for (;;) {
    if (await holds()) return;
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms for ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

const base64url = (value) => Buffer.from(value).toString("base64url");

/** A JSON Web Token as any backend would sign it: HS256 with the access key. */
export function sign(claims, key, header = { alg: "HS256", typ: "JWT" }) {
  const content = `${base64url(JSON.stringify(header))}.${base64url(JSON.stringify(claims))}`;
  return `${content}.${createHmac("sha256", key).update(content).digest("base64url")}`;
}

/** A client token of the tenant for a hub. */
export function clientToken(tenant, { hub = tenant.hub, user, seconds = 300, key = tenant.access_key, ...claims } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const aud = tenant.client_url.replace(/hub=.*$/, `hub=${hub}`);
  return sign({ aud, iat: now, nbf: now, exp: now + seconds, ...(user && { nameid: user }), ...claims }, key);
}

/** The tenant's addresses at one of the places that serve it: an edge or the front. */
export function at(place, tenant) {
  const base = tenant.slug === "demo" ? place : `${place}/t/${tenant.slug}`;
  return { base, client: (hub = tenant.hub) => `${base}/client/?hub=${hub}`, rest: `${base}/api/v1` };
}

/** Sends a REST request as the tenant, with the plain access key. */
export function rest(place, tenant, method, path, body) {
  return fetch(at(place, tenant).rest + path, {
    method,
    headers: { authorization: `Bearer ${tenant.access_key}`, ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
}

/** Publishes and expects it to be accepted. */
export async function publish(place, tenant, path, target, ...args) {
  const response = await rest(place, tenant, "POST", path, { target, arguments: args });
  assert.equal(response.status, 202, `publish to ${path}: ${await response.text()}`);
}

/** The transports and protocols that SignalR has; server-sent events are text only. */
const whole = [
  ["WebSockets", "json"],
  ["WebSockets", "messagepack"],
  ["ServerSentEvents", "json"],
  ["LongPolling", "json"],
  ["LongPolling", "messagepack"],
];
/** Each of them once, where E2E_MATRIX=short. */
export const matrix = process.env.E2E_MATRIX === "short" ? whole.filter(([transport, protocol]) => transport === "ServerSentEvents" || protocol === "messagepack") : whole;

/** A connected client that keeps what it received, by target and in order. */
export class Client {
  received = [];
  #waiting = [];

  constructor(connection, targets) {
    this.connection = connection;
    for (const target of targets) {
      connection.on(target, (...args) => {
        this.received.push({ target, args });
        this.#waiting = this.#waiting.filter((check) => !check());
      });
    }
  }

  get id() {
    return this.connection.connectionId;
  }

  /** Waits until a message is there for which test is true, and returns it. */
  async message(test, what) {
    let check;
    const found = new Promise((done) => {
      check = () => {
        const message = this.received.find(test);
        if (message) done(message);
        return message !== undefined;
      };
      if (!check()) this.#waiting.push(check);
    });
    return within(found, `${what}; received ${JSON.stringify(this.received.slice(-5))}`);
  }

  stop() {
    return this.connection.stop();
  }
}

/**
 * Connects the official client. Every client is stopped when the test ends.
 * @param t the test's context
 */
export async function connect(t, place, tenant, options = {}) {
  const { transport = "WebSockets", protocol = "json", hub, user, token, reconnect, targets = ["message"] } = options;
  const builder = new HubConnectionBuilder()
    .withUrl(at(place, tenant).client(hub), {
      transport: HttpTransportType[transport],
      accessTokenFactory: () => token ?? clientToken(tenant, { hub, user }),
    })
    .withHubProtocol(protocol === "json" ? new JsonHubProtocol() : new MessagePackHubProtocol())
    .configureLogging(LogLevel.None);
  if (reconnect) builder.withAutomaticReconnect(reconnect);
  const connection = builder.build();
  const client = new Client(connection, targets);
  await within(connection.start(), `${transport} with ${protocol} to connect to ${place}`);
  t.after(() => connection.stop());
  return client;
}
