// An app server as the .NET SDK is one: five connections per hub to the service,
// a hub of its own for each client, nothing known of who is where. It shares no
// code with the service.
import { createHmac, randomUUID } from "node:crypto";
import { EventEmitter } from "node:events";

import { JsonHubProtocol, NullLogger } from "@microsoft/signalr";
import { MessagePackHubProtocol } from "@microsoft/signalr-protocol-msgpack";
import { decode } from "@msgpack/msgpack";
import WebSocket from "ws";

import { Deframer, framed, kind, parse } from "./wire.mjs";

const protocols = { json: new JsonHubProtocol(), messagepack: new MessagePackHubProtocol() };
const separator = 0x1e;
const ackOf = { 1: true, 2: false };

const base64url = (value) => Buffer.from(value).toString("base64url");

/** A hub message in every hub protocol, framed. */
function payloads(message) {
  return Object.fromEntries(Object.entries(protocols).map(([name, protocol]) => [name, Buffer.from(written(protocol, message))]));
}

/** A value as .NET writes it in JSON: bytes are base64. */
function plain(value) {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object" || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([name, v]) => [name, plain(v)]));
}

/** A hub message, framed. The client's own package writes no more than the type of a Close in MessagePack. */
function written(protocol, message) {
  if (protocol.name === "json") return protocol.writeMessage(plain(message));
  return message.type === 7 ? framed(7, message.error ?? null, message.allowReconnect ?? false) : protocol.writeMessage(message);
}

/** Reads "Endpoint=…;AccessKey=…;Version=1.0;". */
function connectionString(text) {
  const parts = Object.fromEntries(text.split(";").filter(Boolean).map((part) => [part.slice(0, part.indexOf("=")).toLowerCase(), part.slice(part.indexOf("=") + 1)]));
  const url = new URL(parts.endpoint);
  if (parts.port) url.port = parts.port;
  return { url, audience: `${url.protocol}//${url.hostname}`, key: parts.accesskey };
}

/** What hub methods see of a client. */
export class Caller {
  constructor(connection) {
    this.connection = connection;
    this.id = connection.id;
    this.user = connection.user;
    this.query = connection.query;
    this.headers = connection.headers;
    this.protocol = connection.protocol?.name;
    this.closed = connection.closed.signal;
  }

  /** Sends to targets of the service; the first element is the kind of target. */
  send(target, method, ...args) {
    this.connection.server.hub.send(this.connection.server, target, method, args);
  }

  /** To the caller alone, through the service like every target. */
  reply(method, ...args) {
    this.send(["client", this.id], method, ...args);
  }

  join(group) {
    return this.connection.server.acknowledged(kind.join, this.id, group);
  }

  leave(group) {
    return this.connection.server.acknowledged(kind.leave, this.id, group);
  }

  /** Asks a client, which may belong to another app server, and returns its answer. */
  ask(id, method, ...args) {
    return this.connection.server.hub.ask(this.connection.server, id, method, args);
  }

  close(reason, allowReconnect) {
    this.connection.end(reason, allowReconnect);
  }

  abort() {
    this.connection.drop("");
  }
}

/** A message of a client in MessagePack; the client's own packages can't read what clients send. */
function named([type, , invocationId, ...rest]) {
  switch (type) {
    case 1:
    case 4: {
      const [target, args, streamIds] = rest;
      return { type, invocationId: invocationId ?? undefined, target, arguments: args, streamIds };
    }
    case 2:
      return { type, invocationId, item: rest[0] };
    case 3: {
      const [kindOf, value] = rest;
      return { type, invocationId, ...(kindOf === 1 ? { error: value } : kindOf === 3 ? { result: value } : {}) };
    }
    default:
      return { type, invocationId };
  }
}

/** One client, of which the service tells. */
class Connection {
  closed = new AbortController();
  #partial = [];
  #text = Buffer.alloc(0);
  #streams = new Map();
  #uploads = new Map();
  #queue = Promise.resolve();
  #heard = Date.now();
  #said = Date.now();
  #flows; // while the service has paused the client, a promise of its going on
  #goOn;
  #held = [];
  protocol;

  constructor(server, { id, claims, headers, query, protocol }) {
    Object.assign(this, { server, id, headers, hinted: protocol });
    this.query = Object.fromEntries([...new URLSearchParams(query)].reduce((all, [name, value]) => all.set(name, [...(all.get(name) ?? []), value]), new Map()));
    this.claims = claims;
    const claim = (type) => claims.find(([t]) => t === type)?.[1];
    this.user = claim("asrs.s.uid") ?? claim("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier") ?? "";
    this.migrated = headers["Asrs-Migrate-From"] !== undefined;
    this.caller = new Caller(this);
  }

  get hub() {
    return this.server.hub.methods;
  }

  data({ payload, partial }) {
    this.#heard = Date.now();
    this.#partial.push(Buffer.from(payload));
    if (partial) return;
    this.#text = Buffer.concat([this.#text, ...this.#partial.splice(0)]);
    for (let message; (message = this.#next()); ) this.#handle(message);
  }

  #next() {
    if (!this.protocol || this.protocol.name === "json") {
      const end = this.#text.indexOf(separator);
      if (end < 0) return undefined;
      const record = this.#text.subarray(0, end + 1);
      this.#text = this.#text.subarray(end + 1);
      const value = JSON.parse(record.subarray(0, -1).toString());
      return this.protocol ? value : { handshake: value };
    }
    let length = 0;
    let n = 0;
    for (; ; n++) {
      if (n >= this.#text.length) return undefined;
      length |= (this.#text[n] & 0x7f) << (7 * n);
      if (!(this.#text[n] & 0x80)) break;
    }
    if (this.#text.length < n + 1 + length) return undefined;
    const fields = decode(this.#text.subarray(n + 1, n + 1 + length));
    this.#text = this.#text.subarray(n + 1 + length);
    return named(fields);
  }

  #handle(message) {
    if (message.handshake) return this.#shake(message.handshake);
    switch (message.type) {
      case 1:
      case 4:
        for (const id of message.streamIds ?? []) this.#uploads.set(id, upload());
        this.#invoke(message);
        break;
      case 2:
        this.#uploads.get(message.invocationId)?.push(message.item);
        break;
      case 3:
        if (!this.server.hub.answered(this, message)) this.#uploads.get(message.invocationId)?.finish(message.error);
        break;
      case 5:
        this.#streams.get(message.invocationId)?.abort();
        break;
      case 7:
        this.drop("");
        break;
    }
  }

  #shake({ protocol, version }) {
    this.protocol = protocols[protocol];
    this.caller.protocol = protocol;
    const error = !this.protocol ? `The protocol '${protocol}' is not supported.` : version > 2 || version < 1 ? `The server does not support version ${version} of the '${protocol}' protocol.` : undefined;
    if (protocol !== this.hinted) throw new Error(`the service said ${this.hinted}, the client ${protocol}`);
    if (!this.migrated) this.raw(Buffer.from(`${JSON.stringify(error ? { error } : {})}\u001e`));
    if (error) return this.drop(error);
    this.#queue = (async () => this.hub.connected?.(this.caller))().catch((e) => this.end(`Connection closed with an error.${this.server.hub.detailed ? ` ${e.name === "Error" ? "Exception" : e.name}: ${e.message}` : ""}`, false));
  }

  /** Invocations of a client run one after the other; those with streams of the client run beside them. */
  #invoke(message) {
    const run = () => this.#run(message);
    if (message.streamIds?.length) this.#queue.then(run);
    else {
      const freed = new Promise((free) => (message.free = free));
      this.#queue = this.#queue.then(() => Promise.race([run(), freed]));
    }
  }

  async #run(message) {
    const { invocationId, target, type } = message;
    const answer = (completion) => invocationId !== undefined && this.say({ type: 3, invocationId, ...completion });
    const uploads = (message.streamIds ?? []).map((id) => this.#uploads.get(id));
    const streaming = type === 4;
    const cancelled = new AbortController();
    const name = Object.keys(this.hub.methods).find((n) => n.toLowerCase() === target.toLowerCase());
    const method = this.hub.methods[name];
    try {
      if (!method) throw new Told(`Failed to invoke '${target}' due to an error on the server. HubException: Method does not exist.`);
      if (streaming && !method.streams) throw new Told(`The client attempted to invoke the non-streaming '${target}' method with a streaming invocation.`);
      if (!streaming && method.streams) throw new Told(`The client attempted to invoke the streaming '${target}' method with a non-streaming invocation.`);
      if (streaming && this.#streams.has(invocationId)) throw new Told(`Invocation ID '${invocationId}' is already in use.`);
      if (uploads.length !== (method.uploads ?? 0)) throw new Safe(`Client sent ${uploads.length} stream(s), Hub method expects ${method.uploads ?? 0}.`);
      const wrong = method.check?.(message.arguments);
      if (wrong) throw new Told(`Failed to invoke '${target}' due to an error on the server.${this.server.hub.detailed ? ` InvalidDataException: ${wrong}` : ""}`);
      const context = { caller: this.caller, signal: AbortSignal.any([cancelled.signal, this.closed.signal]), uploads, free: () => message.free?.() };
      if (streaming) this.#streams.set(invocationId, cancelled);
      const result = await method.call(context, ...message.arguments);
      if (streaming) {
        if (!result) throw new Told(`The value returned by the streaming method '${target}' is not a ChannelReader<> or IAsyncEnumerable<>.`);
        message.free?.();
        return await this.#stream(invocationId, result, cancelled);
      }
      if (result !== null && result !== undefined && typeof result === "number" && !Number.isFinite(result)) throw new Error("not a number");
      if (typeof result === "function") throw new Error("not a value");
      answer({ result: result ?? null });
    } catch (error) {
      answer({ error: this.#text_(target, error) });
    } finally {
      if (streaming && this.#streams.get(invocationId) === cancelled) this.#streams.delete(invocationId);
      for (const id of message.streamIds ?? []) this.#uploads.delete(id);
    }
  }

  async #stream(invocationId, items, cancelled) {
    let error;
    try {
      for await (const item of items) {
        await this.#flows;
        if (cancelled.signal.aborted || this.closed.signal.aborted) break;
        this.say({ type: 2, invocationId, item });
      }
    } catch (e) {
      error = `An error occurred on the server while streaming results.${e instanceof Safe ? ` HubException: ${e.message}` : this.server.hub.detailed ? ` Exception: ${e.message}` : ""}`;
    }
    this.say({ type: 3, invocationId, ...(error && !cancelled.signal.aborted && { error }) });
  }

  #text_(target, error) {
    if (error instanceof Told) return error.message;
    if (error instanceof Unauthorized) return `Failed to invoke '${target}' because user is unauthorized`;
    const generic = `An unexpected error occurred invoking '${target}' on the server.`;
    if (error instanceof Safe) return `${generic} HubException: ${error.message}`;
    return this.server.hub.detailed ? `${generic} Exception: ${error.message}` : generic;
  }

  /** Sends a hub message to this client. */
  say(message) {
    let bytes;
    try {
      bytes = Buffer.from(written(this.protocol, message));
    } catch (error) {
      bytes = Buffer.from(this.protocol.writeMessage({ type: 3, invocationId: message.invocationId, error: `An unexpected error occurred: ${error.message}` }));
    }
    this.raw(bytes);
  }

  raw(bytes) {
    if (this.closed.signal.aborted) return;
    this.#said = Date.now();
    if (this.#flows) this.#held.push(bytes);
    else this.server.write(kind.data, this.id, bytes, {});
  }

  /** Sends nothing more until the service lets it go on, and says so once. */
  pause() {
    if (this.#flows) return;
    this.#flows = new Promise((done) => (this.#goOn = done));
    this.server.write(kind.flow, this.id, 1, 2, {});
  }

  resume() {
    if (!this.#flows) throw new Error("the service lets a client go on that isn't paused");
    this.#flows = undefined;
    this.#goOn();
    for (const bytes of this.#held.splice(0)) this.raw(bytes);
  }

  /** Keeps the client alive, and ends it when it has fallen silent. */
  tick({ keepAlive, timeout }) {
    if (!this.protocol) return;
    if (Date.now() - this.#said >= keepAlive) this.say({ type: 6 });
    if (Date.now() - this.#heard >= timeout) this.end("", false);
  }

  /** Says goodbye in the hub protocol, and then to the service. */
  end(reason, allowReconnect) {
    if (this.closed.signal.aborted) return;
    this.say({ type: 7, ...(reason && { error: reason }), ...(allowReconnect && { allowReconnect }) });
    this.drop("");
  }

  drop(error) {
    if (this.closed.signal.aborted) return;
    this.server.write(kind.close, this.id, error, {}, {});
    this.gone(error);
  }

  /** The service has nothing more to say of it. */
  gone(error) {
    if (this.closed.signal.aborted) return;
    this.closed.abort();
    this.#goOn?.();
    for (const u of this.#uploads.values()) u.finish("the connection has ended");
    this.server.clients.delete(this.id);
    this.server.hub.clients.delete(this.id);
    this.server.hub.left(this);
    Promise.resolve(this.hub.disconnected?.(this.caller, error)).catch(() => {});
  }
}

/** An error in exactly these words. */
export class Told extends Error {}
/** An error that the client may see: what .NET calls a HubException. */
export class Safe extends Error {}
export class Unauthorized extends Error {}

/** A stream of the client: asynchronously iterable. */
function upload() {
  const items = [];
  let ended;
  let wake = () => {};
  return {
    push(item) {
      items.push(item);
      wake();
    },
    finish(error) {
      ended ??= { error };
      wake();
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        while (items.length) yield items.shift();
        if (ended) {
          if (ended.error) throw new Safe(ended.error);
          return;
        }
        await new Promise((done) => (wake = done));
      }
    },
  };
}

/** One connection of a hub to the service. */
class ServerConnection extends EventEmitter {
  clients = new Map();
  #deframer = new Deframer();
  #pinged = Date.now();
  #heard = Date.now();
  ready = false;

  constructor(hub, type = 0, target = "") {
    super();
    this.hub = hub;
    const { url, audience, key } = hub.service;
    const now = Math.floor(Date.now() / 1000);
    const content = `${base64url('{"alg":"HS256","typ":"JWT","kid":"-1234"}')}.${base64url(JSON.stringify({ nameid: hub.serverId, nbf: now, iat: now, exp: now + 3600, aud: `${audience}/server/?hub=${hub.name}` }))}`;
    const token = `${content}.${createHmac("sha256", key).update(content).digest("base64url")}`;
    this.id = randomUUID();
    const address = `${url.protocol === "https:" ? "wss:" : "ws:"}//${url.host}/server/?hub=${hub.name}&cid=${this.id}${target && `&target=${encodeURIComponent(target)}`}`;
    this.socket = new WebSocket(address, {
      headers: { authorization: `Bearer ${token}`, "x-asrs-server-id": hub.serverId, "asrs-user-agent": "Microsoft.Azure.SignalR/1.33.0 (peer)", "x-requested-with": "XMLHttpRequest" },
    });
    this.socket.once("open", () => this.write(kind.handshakeRequest, 1, type, target, hub.migration, {}, true));
    this.socket.on("message", (data) => {
      this.#heard = Date.now();
      try {
        for (const bytes of this.#deframer.push(Buffer.from(data))) this.#handle(parse(bytes));
      } catch (error) {
        hub.emit("fault", error);
        this.socket.terminate();
      }
    });
    this.socket.on("error", (error) => (this.problem = error));
    this.socket.once("close", () => {
      for (const c of [...this.clients.values()]) c.gone("the service connection has closed");
      this.emit("ended");
    });
    this.on("error", () => {});
  }

  write(...fields) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(framed(...fields));
  }

  #handle(m) {
    if (!this.ready && m.type !== kind.handshakeResponse) throw new Error(`message ${m.type} came before the handshake's answer`);
    // The SDK answers the service's pings with its own, five seconds apart.
    if (Date.now() - this.#pinged > 5000) {
      this.#pinged = Date.now();
      this.write(kind.ping, "#clientInHub", String(this.hub.clients.size), "#client", String(this.clients.size));
    }
    switch (m.type) {
      case kind.handshakeResponse:
        if (m.error) {
          this.problem = new Error(m.error);
          return this.socket.terminate();
        }
        this.ready = true;
        return this.emit("ready");
      case kind.ping:
        return this.#ping(m.values);
      case kind.open: {
        const c = new Connection(this, m);
        this.clients.set(m.id, c);
        this.hub.clients.set(m.id, c);
        return undefined;
      }
      case kind.data:
        return this.clients.get(m.id)?.data(m);
      case kind.close:
        return this.clients.get(m.id)?.gone(m.error);
      case kind.ack:
        return this.hub.ack(m);
      case kind.invocation:
        // Another app server asks a client of this one: its answer goes back that way.
        this.hub.routed.set(m.invocationId, { server: this, ...m });
        return undefined;
      case kind.completion:
      case kind.errorCompletion:
        return this.hub.completed(m);
      case kind.flow:
        return this.#flow(m);
      case kind.serviceError:
        return this.hub.emit("refused", m.error);
    }
    return undefined;
  }

  #flow({ about, operation, id }) {
    // Where the SDK throws, the service has made a mistake.
    if (about === 2 && operation === 4 && id === this.id) this.offline = true;
    else if (about === 1 && operation === 1) this.clients.get(id)?.pause();
    else if (about === 1 && operation === 3) this.clients.get(id)?.resume();
    else throw new Error(`flow control that the SDK doesn't take: ${about} ${operation} ${id}`);
  }

  #ping(values) {
    for (let i = 0; i < values.length; i += 2) {
      if (values[i] === "shutdown" && values[i + 1] === "finack") this.emit("finack");
      if (values[i] === "echo") this.write(kind.ping, values[i], values[i + 1]);
    }
  }

  /** Sends a command and waits for its acknowledgement, as groups do. */
  acknowledged(type, ...fields) {
    return this.hub.acknowledged((ackId) => this.write(type, ...fields, ackId, {}));
  }

  tick(options) {
    if (Date.now() - this.#heard > 30_000) this.socket.terminate();
    for (const c of this.clients.values()) c.tick(options);
  }
}

/** A hub of an app server. Events: ready, fault (the service broke its protocol), refused. */
export class Hub extends EventEmitter {
  clients = new Map();
  routed = new Map();
  #servers = new Set();
  #acks = new Map();
  #ackIds = 0;
  #asked = new Map();
  #invocations = 0;
  #stopping = false;

  /**
   * @param service a connection string
   * @param methods {connected, disconnected, methods}: see testhub.mjs
   */
  constructor(service, name, methods, { serverId, connections = 5, migration = 1, detailed = false, keepAlive = 15_000, timeout = 30_000 } = {}) {
    super();
    Object.assign(this, { service: connectionString(service), name: name.toLowerCase(), methods, detailed, migration });
    this.serverId = serverId ?? `peer_${randomUUID().replaceAll("-", "")}`;
    for (let i = 0; i < connections; i++) this.#keep(0);
    this.clock = setInterval(() => {
      for (const s of this.#servers) s.tick({ keepAlive, timeout });
    }, Math.min(1000, keepAlive / 3)).unref();
  }

  /** Keeps one connection to the service for ever. */
  #keep(failures) {
    const s = new ServerConnection(this);
    this.#servers.add(s);
    s.once("ready", () => {
      failures = 0;
      this.emit("ready");
    });
    s.once("ended", () => {
      this.#servers.delete(s);
      if (!this.#stopping) setTimeout(() => this.#keep(failures + 1), Math.min(2 ** failures, 60) * 100);
      else if (this.#servers.size === 0) this.emit("stopped");
    });
  }

  get servers() {
    return [...this.#servers].filter(({ ready, offline }) => ready && !offline);
  }

  any() {
    const all = this.servers;
    return all[Math.floor(Math.random() * all.length)];
  }

  send(server, [to, ...names], method, args) {
    const p = payloads({ type: 1, target: method, arguments: args });
    const write = { client: () => [kind.connections, names, p, {}], clients: () => [kind.connections, names, p, {}], all: () => [kind.all, names, p, {}],
      user: () => [kind.user, names[0], p, {}], users: () => [kind.users, names, p, {}], group: () => [kind.group, names[0], names.slice(1), p, {}, [], null],
      groups: () => [kind.groups, names, p, {}] }[to];
    server.write(...write());
  }

  acknowledged(write) {
    const id = ++this.#ackIds;
    return new Promise((done, failed) => {
      const late = setTimeout(() => failed(new Error("the service has not acknowledged within 10 s")), 10_000);
      this.#acks.set(id, { done: (ok) => (clearTimeout(late), done(ok)), failed: (error) => (clearTimeout(late), failed(error)) });
      write(id);
    });
  }

  ack({ ackId, status, text }) {
    const waiting = this.#acks.get(ackId);
    if (!waiting) return this.emit("fault", new Error(`an acknowledgement of nothing: ${ackId}`));
    this.#acks.delete(ackId);
    return status in ackOf ? waiting.done(ackOf[status]) : waiting.failed(new Error(`status ${status}: ${text}`));
  }

  ask(server, id, method, args) {
    const invocationId = `${id}-${this.serverId}-${++this.#invocations}`;
    return new Promise((done, failed) => {
      this.#asked.set(invocationId, { id, done, failed });
      server.write(kind.invocation, invocationId, id, this.serverId, payloads({ type: 1, invocationId, target: method, arguments: args }), {});
    });
  }

  /** A completion from a client: is it an answer to a question of this or another app server? */
  answered(connection, message) {
    const { invocationId } = message;
    const routed = this.routed.get(invocationId);
    if (routed?.id === connection.id) {
      this.routed.delete(invocationId);
      connection.server.write(kind.completion, invocationId, connection.id, routed.caller, connection.protocol.name, Buffer.from(connection.protocol.writeMessage(message)), { });
      return true;
    }
    const asked = this.#asked.get(invocationId);
    if (asked?.id !== connection.id) return false;
    this.#settle(invocationId, message);
    connection.server.write(kind.completion, invocationId, connection.id, this.serverId, connection.protocol.name, Buffer.alloc(0), {});
    return true;
  }

  completed(m) {
    if (m.type === kind.errorCompletion) return this.#settle(m.invocationId, { error: m.error });
    const protocol = protocols[m.hubProtocol];
    const bytes = protocol.name === "json" ? m.payload.toString() : m.payload.buffer.slice(m.payload.byteOffset, m.payload.byteOffset + m.payload.length);
    return this.#settle(m.invocationId, protocol.parseMessages(bytes, NullLogger.instance)[0]);
  }

  #settle(invocationId, { error, result }) {
    const asked = this.#asked.get(invocationId);
    if (!asked) return;
    this.#asked.delete(invocationId);
    if (error !== undefined) asked.failed(new Safe(error));
    else asked.done(result);
  }

  /** A client of this app server has left: it answers nothing more. */
  left(connection) {
    for (const [invocationId, { id, failed }] of this.#asked) {
      if (id !== connection.id) continue;
      this.#asked.delete(invocationId);
      failed(new Safe(`Connection '${id}' disconnected.`));
    }
  }

  /** Goes away in the orderly way: lets its clients move, or waits until they have left. */
  async shutdown({ fin = 1, patience = 30_000 } = {}) {
    this.#stopping = true;
    await Promise.all(this.servers.map((s) => new Promise((done) => {
      s.once("finack", done).once("ended", done);
      s.write(kind.ping, "shutdown", `fin:${fin}`);
    })));
    const deadline = Date.now() + patience;
    while (this.clients.size > 0 && Date.now() < deadline) await new Promise((done) => setTimeout(done, 20));
    clearInterval(this.clock);
    for (const s of this.#servers) s.socket.close();
  }
}

/** The answer to an app's own negotiate: where the client goes, and with which token. */
export function redirect(hub, { path, query, user, claims = {} }) {
  const { url, audience, key } = hub.service;
  const now = Math.floor(Date.now() / 1000);
  const content = `${base64url('{"alg":"HS256","typ":"JWT"}')}.${base64url(JSON.stringify({ ...(user && { nameid: user, "asrs.s.uid": user }), "asrs.s.sn": hub.serverId, "asrs.s.ssticky": "Preferred", ...claims, nbf: now, iat: now, exp: now + 3600, aud: `${audience}/client/?hub=${hub.name}` }))}`;
  const accessToken = `${content}.${createHmac("sha256", key).update(content).digest("base64url")}`;
  const original = query.replace(/^\?/, "");
  return { url: `${url.origin}/client/?hub=${hub.name}&asrs.op=${encodeURIComponent(path)}${original && `&${original}`}&asrs_request_id=${randomUUID().slice(0, 8)}`, accessToken, availableTransports: [] };
}
