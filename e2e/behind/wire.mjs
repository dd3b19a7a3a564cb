// The Azure SignalR service protocol as an app server speaks it. The reader is
// as strict as the .NET SDK's: what that one would stumble over is an error.
import { encode } from "@msgpack/msgpack";

/** The kinds of service messages, by number. */
export const kind = {
  handshakeRequest: 1, handshakeResponse: 2, ping: 3, open: 4, close: 5, data: 6, connections: 7, user: 8, users: 9, all: 10,
  group: 13, groups: 14, serviceError: 15, join: 18, leave: 19, ack: 20, serviceEvent: 22, invocation: 34, completion: 35,
  errorCompletion: 36, mapping: 37, reconnect: 38, flow: 39,
};

/** A message with its length in front. */
export function framed(...fields) {
  const body = encode(fields);
  const head = [];
  let rest = body.length;
  do {
    head.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest >>>= 7;
  } while (rest > 0);
  return Buffer.concat([Buffer.from(head), body]);
}

/** Cuts the stream of binary frames into messages. */
export class Deframer {
  #buffer = Buffer.alloc(0);

  *push(chunk) {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    for (;;) {
      let length = 0;
      let n = 0;
      for (let shift = 0; ; shift += 7, n++) {
        if (n >= this.#buffer.length) return;
        length |= (this.#buffer[n] & 0x7f) << shift;
        if (!(this.#buffer[n] & 0x80)) break;
      }
      n++;
      if (this.#buffer.length < n + length) return;
      yield this.#buffer.subarray(n, n + length);
      this.#buffer = this.#buffer.subarray(n + length);
    }
  }
}

/** Reads one MessagePack value after the other, each of the type that is expected. */
class Reader {
  #at = 0;

  constructor(bytes) {
    this.bytes = bytes;
  }

  #fail(what) {
    throw new Error(`the service sent no ${what} at byte ${this.#at} of ${this.bytes.toString("hex")}`);
  }

  #byte() {
    if (this.#at >= this.bytes.length) this.#fail("more");
    return this.bytes[this.#at++];
  }

  #unsigned(size) {
    if (this.#at + size > this.bytes.length) this.#fail("more");
    const n = size === 8 ? Number(this.bytes.readBigUInt64BE(this.#at)) : this.bytes.readUIntBE(this.#at, size);
    this.#at += size;
    return n;
  }

  #nil() {
    if (this.bytes[this.#at] !== 0xc0) return false;
    this.#at++;
    return true;
  }

  #take(length) {
    if (this.#at + length > this.bytes.length) this.#fail("more");
    this.#at += length;
    return this.bytes.subarray(this.#at - length, this.#at);
  }

  array() {
    const b = this.#byte();
    if ((b & 0xf0) === 0x90) return b & 0x0f;
    if (b === 0xdc) return this.#unsigned(2);
    if (b === 0xdd) return this.#unsigned(4);
    return this.#fail("array");
  }

  map() {
    const b = this.#byte();
    if ((b & 0xf0) === 0x80) return b & 0x0f;
    if (b === 0xde) return this.#unsigned(2);
    if (b === 0xdf) return this.#unsigned(4);
    return this.#fail("map");
  }

  int() {
    const b = this.#byte();
    if (b < 0x80) return b;
    if (b >= 0xe0) return b - 0x100;
    const size = { 0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8 }[b];
    if (size) return this.#unsigned(size);
    if (b === 0xd0) return this.bytes.readInt8(this.#at++);
    if (b === 0xd1) return this.#take(2).readInt16BE();
    if (b === 0xd2) return this.#take(4).readInt32BE();
    return this.#fail("integer");
  }

  bool() {
    const b = this.#byte();
    return b === 0xc3 ? true : b === 0xc2 ? false : this.#fail("boolean");
  }

  string() {
    if (this.#nil()) return null;
    const b = this.#byte();
    const length = (b & 0xe0) === 0xa0 ? b & 0x1f : b === 0xd9 ? this.#unsigned(1) : b === 0xda ? this.#unsigned(2) : b === 0xdb ? this.#unsigned(4) : this.#fail("text");
    return this.#take(length).toString("utf8");
  }

  bytesOf() {
    const b = this.#byte();
    const size = { 0xc4: 1, 0xc5: 2, 0xc6: 4 }[b];
    return size ? this.#take(this.#unsigned(size)) : this.#fail("bytes");
  }

  /** Pairs; claims repeat their types. */
  pairs() {
    return Array.from({ length: this.map() }, () => [this.string(), this.string()]);
  }

  headers() {
    return Object.fromEntries(Array.from({ length: this.map() }, () => [this.string(), Array.from({ length: this.array() }, () => this.string())]));
  }

  payloads() {
    return Object.fromEntries(Array.from({ length: this.map() }, () => [this.string(), this.bytesOf()]));
  }

  /** The extension members that a message may have; another one is an error, as it throws the SDK's reader off its track. */
  extensions(...allowed) {
    const known = { 1: ["tracing", () => this.int()], 3: ["protocol", () => this.string()], 5: ["dataType", () => this.int()], 6: ["partial", () => this.bool()] };
    const found = {};
    for (let left = this.map(); left > 0; left--) {
      const key = this.int();
      const [name, read] = known[key] ?? this.#fail(`known extension key but ${key}`);
      if (!["tracing", ...allowed].includes(name)) this.#fail(`extension "${name}", which doesn't belong here`);
      found[name] = read();
    }
    return found;
  }

  end() {
    if (this.#at !== this.bytes.length) this.#fail("end");
  }
}

/** Reads one message of the service. */
export function parse(bytes) {
  const r = new Reader(bytes);
  const fields = r.array();
  const type = r.int();
  const exactly = (n) => {
    if (fields !== n) throw new Error(`message ${type} has ${fields} fields: ${bytes.toString("hex")}`);
  };
  const message = { type };
  switch (type) {
    case kind.handshakeResponse:
      if (fields < 2 || fields > 4) exactly(4);
      message.error = r.string();
      if (fields > 2) r.extensions();
      if (fields > 3) message.connectionId = r.string();
      break;
    case kind.ping:
      if (fields % 2 !== 1) exactly(3);
      message.values = Array.from({ length: fields - 1 }, () => r.string());
      break;
    case kind.open:
      exactly(6);
      Object.assign(message, { id: r.string(), claims: r.pairs(), headers: r.headers(), query: r.string() }, r.extensions("protocol"));
      break;
    case kind.close:
      exactly(5);
      Object.assign(message, { id: r.string(), error: r.string(), headers: r.headers() }, r.extensions());
      break;
    case kind.data:
      exactly(4);
      Object.assign(message, { id: r.string(), payload: r.bytesOf() }, r.extensions("dataType", "partial"));
      break;
    case kind.serviceError:
      exactly(2);
      message.error = r.string();
      break;
    case kind.ack:
      if (fields !== 5 && fields !== 6) exactly(6);
      Object.assign(message, { ackId: r.int(), status: r.int(), text: r.string() }, r.extensions());
      if (fields === 6) message.payload = bytes.at(-1) === 0xc0 ? (r.string(), null) : r.bytesOf();
      break;
    case kind.serviceEvent:
      exactly(6);
      Object.assign(message, { about: r.int(), id: r.string(), event: r.int(), text: r.string() }, r.extensions());
      break;
    case kind.invocation:
      exactly(6);
      Object.assign(message, { invocationId: r.string(), id: r.string(), caller: r.string(), payloads: r.payloads() }, r.extensions());
      break;
    case kind.completion:
      exactly(7);
      Object.assign(message, { invocationId: r.string(), id: r.string(), caller: r.string(), hubProtocol: r.string(), payload: r.bytesOf() }, r.extensions("protocol"));
      break;
    case kind.errorCompletion:
      exactly(6);
      Object.assign(message, { invocationId: r.string(), id: r.string(), caller: r.string(), error: r.string() }, r.extensions());
      break;
    case kind.mapping:
      exactly(5);
      Object.assign(message, { invocationId: r.string(), id: r.string(), instance: r.string() }, r.extensions());
      break;
    case kind.reconnect:
      exactly(3);
      Object.assign(message, { id: r.string() }, r.extensions());
      break;
    case kind.flow:
      exactly(5);
      Object.assign(message, { id: r.string(), about: r.int(), operation: r.int() }, r.extensions());
      break;
    default:
      throw new Error(`the service sent a message that app servers don't take: ${bytes.toString("hex")}`);
  }
  r.end();
  return message;
}
