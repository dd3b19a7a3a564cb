// A hub whose clients an upstream serves: webhooks in Azure's format or in the
// native one on one side, the REST API on the other. It keeps nothing but what it
// was told, and shares no code with the service.
import { createHmac } from "node:crypto";

import { NullLogger } from "@microsoft/signalr";
import { MessagePackHubProtocol } from "@microsoft/signalr-protocol-msgpack";
import { decode, encode } from "@msgpack/msgpack";
import { Webhook } from "standardwebhooks";

import { Safe, Told, Unauthorized } from "../behind/peer.mjs";

const messagePack = new MessagePackHubProtocol();
const unexpected = (method) => `An unexpected error occurred invoking '${method}' on the server.`;

/** What hub methods see of a client. Sends are collected, and made before the answer. */
class Caller {
  #sends = [];
  #made = Promise.resolve();

  constructor(hub, { id, user, query, protocol }) {
    Object.assign(this, { hub, id, user, query, protocol, headers: {} });
  }

  /** Sends to targets of the service; the first element is the kind of target. */
  send([to, ...names], target, ...args) {
    const message = { target, arguments: args };
    const all = { all: { excluded: names }, client: { connections: names }, clients: { connections: names }, user: { users: names }, users: { users: names }, groups: { groups: names }, group: { groups: names.slice(0, 1), excluded: names.slice(1) } };
    this.#sends.push({ ...all[to], ...message });
  }

  reply(method, ...args) {
    this.send(["client", this.id], method, ...args);
  }

  join(group) {
    return this.#command("PUT", `/groups/${encodeURIComponent(group)}/connections/${this.id}`);
  }

  leave(group) {
    return this.#command("DELETE", `/groups/${encodeURIComponent(group)}/connections/${this.id}`);
  }

  async ask(id, target, ...args) {
    const { status, body } = await this.hub.rest("POST", `/connections/${encodeURIComponent(id)}/:invoke`, { target, arguments: args });
    if (status === 200) return body.result;
    if (status === 404) throw new Safe(/ended/.test(body.message) ? `Connection '${id}' disconnected.` : `Connection '${id}' does not exist.`);
    throw new Safe(body.message);
  }

  close(reason) {
    return this.#command("DELETE", `/connections/${this.id}${reason && `?reason=${encodeURIComponent(reason)}`}`);
  }

  abort() {
    return this.close("");
  }

  /** One after the other, so that the last one's position is the highest. */
  #command(method, path, body) {
    this.#made = this.#made.then(async () => {
      const answer = await this.hub.rest(method, path, body);
      if (answer.status >= 400) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
      this.position = answer.body?.results?.at(-1)?.position ?? answer.position ?? this.position;
    });
    this.#made.catch(() => {});
    return this.#made;
  }

  /** A message to one group or to all, in MessagePack. */
  #single({ groups: [group] = [], excluded = [], ...message }) {
    const query = new URLSearchParams(excluded.map((id) => ["excluded", id]));
    this.#command("POST", `${group ? `/groups/${encodeURIComponent(group)}` : ""}/:send?${query}`, encode(message));
  }

  /** Makes what was collected, and returns the position that the client must have got to. */
  async settle() {
    while (this.#sends.length) {
      const bytes = this.#sends.findIndex(({ arguments: args }) => hasBytes(args)); // JSON has none
      if (bytes !== 0) this.#command("POST", "/:batch", { messages: this.#sends.splice(0, bytes < 0 ? 100 : Math.min(bytes, 100)) });
      else this.#single(this.#sends.shift());
    }
    await this.#made;
    const { position } = this;
    this.position = undefined;
    return position;
  }
}

const hasBytes = (value) => value instanceof Uint8Array || (value !== null && typeof value === "object" && Object.values(value).some(hasBytes));

/** A stream of the client: asynchronously iterable. */
class Upload {
  #items = [];
  #ended;
  #wake = () => {};

  push(item) {
    this.#items.push(item);
    this.#wake();
  }

  end(error) {
    this.#ended = { error };
    this.#wake();
  }

  async *[Symbol.asyncIterator]() {
    for (;;) {
      while (this.#items.length) yield this.#items.shift();
      if (this.#ended?.error) throw new Safe(this.#ended.error);
      if (this.#ended) return;
      await new Promise((done) => (this.#wake = done));
    }
  }
}

/** One hub, with the methods of testhub.mjs. */
export class UpstreamHub {
  #clients = new Map();
  #calls = new Map(); // with uploads, by connection and invocation

  /**
   * @param name the service's name for the hub
   * @param mode azure or native
   * @param secrets {key, webhook}: what signatures are checked with
   */
  constructor(name, mode, { methods, connected, disconnected }, { rest, key, webhook, detailed = false }) {
    Object.assign(this, { name, mode, methods, on: { connected, disconnected }, base: `${rest}/api/hubs/${name}`, key, webhook, detailed });
  }

  async rest(method, path, body) {
    const packed = body instanceof Uint8Array;
    const response = await fetch(`${this.base}${path}${path.includes("?") ? "&" : "?"}api-version=2022-06-01`, {
      method,
      headers: { authorization: `Bearer ${this.key}`, ...(body && { "content-type": packed ? "application/x-msgpack" : "application/json" }) },
      body: body && (packed ? body : JSON.stringify(body)),
    });
    const text = await response.text();
    return { status: response.status, position: response.headers.get("x-signalbox-position") ?? undefined, body: text ? JSON.parse(text) : undefined };
  }

  /** Serves a request of the service. */
  async serve(request, response) {
    const body = Buffer.concat(await request.toArray());
    const gone = new AbortController();
    response.once("close", () => response.writableEnded || gone.abort());
    if (this.mode === "native") await this.#native(request, response, body, gone.signal);
    else await this.#azure(request, response, body, gone.signal);
  }

  #find(target) {
    return this.methods[Object.keys(this.methods).find((n) => n.toLowerCase() === target.toLowerCase())];
  }

  /** Runs a method and returns its value. */
  async #run({ caller, target, args, streaming = false, uploads = [], signal }) {
    const method = this.#find(target);
    if (!method) throw new Told(`Failed to invoke '${target}' due to an error on the server. HubException: Method does not exist.`);
    if (streaming && !method.streams) throw new Told(`The client attempted to invoke the non-streaming '${target}' method with a streaming invocation.`);
    if (!streaming && method.streams) throw new Told(`The client attempted to invoke the streaming '${target}' method with a non-streaming invocation.`);
    if (uploads.length !== (method.uploads ?? 0)) throw new Safe(`Client sent ${uploads.length} stream(s), Hub method expects ${method.uploads ?? 0}.`);
    const wrong = method.check?.(args);
    if (wrong) throw new Told(`Failed to invoke '${target}' due to an error on the server.${this.detailed ? ` InvalidDataException: ${wrong}` : ""}`);
    const result = await method.call({ caller, signal, uploads, free() {} }, ...args);
    if (typeof result === "function" || (typeof result === "number" && !Number.isFinite(result))) throw new Error("not a value");
    return result;
  }

  // Azure's format: a frame of the hub protocol in, one out.

  async #azure(request, response, body, signal) {
    const header = (name) => request.headers[`x-asrs-${name}`];
    const id = header("connection-id");
    const signature = `sha256=${createHmac("sha256", this.key).update(id).digest("hex")}`;
    if (!header("signature").split(",").includes(signature)) return response.writeHead(401).end();
    if (header("hub") !== this.name || new URL(request.url, "http://x").pathname.split("/").at(-1) !== encodeURIComponent(header("event"))) return response.writeHead(400).end();
    const binary = request.headers["content-type"] === "application/x-msgpack";
    if (header("category") === "connections") {
      const { type, Type = type, Error: error } = JSON.parse(body);
      if (Type === 10) this.#clients.set(id, new Caller(this, { id, user: header("user-id") ?? "", query: queryOf(header("client-query") ?? "") }));
      else this.#left(id, error);
      return response.writeHead(204).end();
    }
    const caller = this.#clients.get(id);
    if (!caller) return response.writeHead(409).end();
    caller.protocol = binary ? "messagepack" : "json";
    const message = binary ? unpacked(decode(body)) : JSON.parse(body);
    const { invocationId, target, arguments: args } = message;
    let completion = { type: 3, invocationId };
    try {
      completion.result = (await this.#run({ caller, target, args, signal })) ?? null;
    } catch (error) {
      completion.error = this.#text(target, error);
    }
    const position = await caller.settle();
    if (position) response.setHeader("x-signalbox-position", position);
    if (invocationId === undefined) return response.writeHead(204).end();
    if (!binary) return response.end(`${JSON.stringify(completion)}\u001e`);
    let frame;
    try {
      frame = messagePack.writeMessage(completion, NullLogger.instance);
    } catch {
      frame = messagePack.writeMessage({ type: 3, invocationId, error: unexpected(target) }, NullLogger.instance);
    }
    return response.end(Buffer.from(frame));
  }

  /** The error as .NET words it. */
  #text(target, error) {
    if (error instanceof Told) return error.message;
    if (error instanceof Unauthorized) return `Failed to invoke '${target}' because user is unauthorized`;
    if (error instanceof Safe) return `${unexpected(target)} HubException: ${error.message}`;
    return this.detailed ? `${unexpected(target)} Exception: ${error.message}` : unexpected(target);
  }

  // The native format: JSON in, JSON or a stream out.

  async #native(request, response, body, signal) {
    let m;
    try {
      m = new Webhook(this.webhook).verify(body.toString(), request.headers);
    } catch (error) {
      return problem(response, 401, error.message);
    }
    const id = m.connection_id;
    if (m.type === "connected") {
      this.#clients.set(id, new Caller(this, { id, user: m.user_id ?? "", query: m.query ?? {}, protocol: "json" }));
      return response.writeHead(204).end();
    }
    if (m.type === "disconnected") {
      this.#left(id, m.error);
      return response.writeHead(204).end();
    }
    const caller = this.#clients.get(id);
    if (!caller) return problem(response, 409, "connected has not been told");
    const key = `${id} ${m.invocation_id}`;
    if (m.type === "items") return this.#items(key, m, response);
    if (m.uploads) {
      const method = this.#find(m.target);
      if (m.uploads.length !== (method?.uploads ?? 0)) return this.#failed(response, new Safe(`Client sent ${m.uploads.length} stream(s), Hub method expects ${method?.uploads ?? 0}.`));
      const uploads = new Map(m.uploads.map((upload) => [upload, new Upload()]));
      const ended = new AbortController();
      const result = this.#run({ caller, target: m.target, args: m.arguments, streaming: m.stream, uploads: [...uploads.values()], signal: ended.signal });
      result.catch(() => {});
      this.#calls.set(key, { caller, uploads, result, ended, streaming: m.stream });
      return response.writeHead(202).end();
    }
    return this.#answer(response, m.target, caller, this.#run({ caller, target: m.target, args: m.arguments, streaming: m.stream, signal }), m.stream, signal);
  }

  /** What the client streams; the answer to the last of it is the method's. */
  async #items(key, { target, items, ended, last }, response) {
    const call = this.#calls.get(key);
    if (!call) return problem(response, 409, "there is no such call");
    for (const { upload, item } of items ?? []) call.uploads.get(upload).push(item);
    for (const { upload, error } of ended ?? []) call.uploads.get(upload).end(error);
    if (last) {
      this.#calls.delete(key);
      return this.#answer(response, target, call.caller, call.result, call.streaming, call.ended.signal);
    }
    // A method that fails before its streams have ended ends the call.
    const failed = await Promise.race([call.result.then(() => undefined, (error) => error), new Promise((later) => setImmediate(later))]);
    if (!failed) return response.writeHead(204).end();
    this.#calls.delete(key);
    return this.#failed(response, failed, target);
  }

  async #answer(response, target, caller, running, streaming, signal) {
    try {
      const result = await running;
      const position = await caller.settle();
      if (position) response.setHeader("x-signalbox-position", position);
      if (streaming) return await this.#stream(response, target, result, signal);
      return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(result ?? null));
    } catch (error) {
      await caller.settle();
      return this.#failed(response, error, target);
    }
  }

  /** Every other stream is NDJSON, and those between are Server-Sent Events. */
  async #stream(response, target, items, signal) {
    if (!items) throw new Told(`The value returned by the streaming method '${target}' is not a ChannelReader<> or IAsyncEnumerable<>.`);
    const sse = (this.streamed = !this.streamed);
    response.writeHead(200, { "content-type": sse ? "text/event-stream" : "application/x-ndjson" }).flushHeaders();
    try {
      for await (const item of items) {
        if (signal.aborted) return;
        if (!response.write(sse ? `data: ${JSON.stringify(item)}\n\n` : `${JSON.stringify(item)}\n`)) await new Promise((done) => response.once("drain", done).once("close", done));
      }
      response.end(sse ? "event: end\ndata:\n\n" : "");
    } catch (error) {
      // NDJSON has no place for an error but the end of the connection.
      if (sse) response.end(`event: error\ndata: ${JSON.stringify({ error: error instanceof Safe ? error.message : "It failed." })}\n\n`);
      else setImmediate(() => response.destroy()); // what was written is on its way
    }
  }

  #failed(response, error, target) {
    if (error instanceof Told) return problem(response, 400, error.message.replace(/^.* HubException: /, ""));
    if (error instanceof Unauthorized) return problem(response, 403, `Failed to invoke '${target}' because user is unauthorized`);
    if (error instanceof Safe) return problem(response, 422, error.message);
    return this.detailed ? problem(response, 400, `Exception: ${error.message}`) : problem(response, 500, error.message);
  }

  #left(id, error) {
    const caller = this.#clients.get(id);
    if (!caller) return;
    this.#clients.delete(id);
    for (const [key, { caller: of, uploads, ended }] of this.#calls) {
      if (of !== caller) continue;
      this.#calls.delete(key);
      ended.abort();
      for (const upload of uploads.values()) upload.end("the connection has ended");
    }
    this.on.disconnected(caller, error);
  }
}

function problem(response, status, detail) {
  response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify({ detail }));
}

const queryOf = (text) => Object.fromEntries([...new URLSearchParams(text)].reduce((all, [name, value]) => all.set(name, [...(all.get(name) ?? []), value]), new Map()));

/** An Invocation in MessagePack. */
function unpacked([type, , invocationId, target, args]) {
  return { type, invocationId: invocationId ?? undefined, target, arguments: args };
}
