// The methods of the conformance tests' hub (../conformance/server), as an app
// server in JavaScript has them.
import { Safe, Unauthorized } from "./peer.mjs";

const binding = "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked.";

/** Checks arguments as typed methods do. */
const takes = (...types) => (args) => {
  if (args.length !== types.length) return `Invocation provides ${args.length} argument(s) but target expects ${types.length}.`;
  return args.every((a, i) => types[i] === "any" || typeof a === types[i]) ? undefined : binding;
};

const method = (f, { check, streams = false, uploads = 0 } = {}) => Object.assign(f, { check, streams, uploads });
const stream = (f, how) => method(f, { ...how, streams: true });

async function* typed(items, type) {
  for await (const item of items) {
    if (typeof item !== type) throw new Safe("Failed to bind Stream message.");
    yield item;
  }
}

async function text(answer) {
  const value = await answer;
  if (value === undefined || value === null) throw new Safe("Client didn't provide a result.");
  if (typeof value !== "string") throw new Safe("Error trying to deserialize result to string. It is another type.");
  return value;
}

/** A hub with journals of its own. */
export function testHub() {
  const journals = new Map();
  const journal = (name) => {
    if (!journals.has(name)) journals.set(name, { items: [], waiting: [] });
    return journals.get(name);
  };
  const tell = (name, what) => {
    const { items, waiting } = journal(name);
    const next = waiting.shift();
    if (next) next(what);
    else items.push(what);
  };
  const next = (name, signal) =>
    new Promise((done, failed) => {
      const { items, waiting } = journal(name);
      if (items.length) return done(items.shift());
      const give = (what) => (clearTimeout(late), done(what));
      const give_up = (error) => {
        waiting.splice(waiting.indexOf(give), 1);
        clearTimeout(late);
        failed(error);
      };
      const late = setTimeout(() => give_up(new Safe(`nothing happened under ${name}`)), 10_000);
      signal.addEventListener("abort", () => waiting.includes(give) && give_up(new Error("cancelled")), { once: true });
      waiting.push(give);
      return undefined;
    });
  const aborted = (signal) => new Promise((done) => (signal.aborted ? done() : signal.addEventListener("abort", done, { once: true })));
  async function* count(n) {
    for (let i = 0; i < n; i++) yield i;
  }
  async function enter(name, signal) {
    tell(`${name} begun`, name);
    return next(name, signal);
  }

  const methods = {
    Await: method(function (name) { return next(name, this.signal); }),
    Forever: method(() => new Promise(() => {})),
    Echo: method((value) => value),
    Typed: method((profile) => profile),
    Add: method((a, b) => a + b, { check: takes("number", "number") }),
    Nothing: method(() => undefined),
    Renamed: method(() => "renamed"),
    Large: method((n) => "0123456789".repeat(n / 10)),
    Fail: method(() => { throw new Error("secret"); }),
    FailSafely: method(() => { throw new Safe("told"); }),
    Panic: method(() => { throw new Error("secret"); }),
    Unsendable: method(() => Infinity),
    Unsendables: method(() => () => {}),
    Forbidden: method(() => { throw new Unauthorized(); }),
    Enter: method(function (name) { return enter(name, this.signal); }),
    Tell: method((name, what) => tell(name, what)),
    Abort: method(function () { this.caller.abort(); }),
    Close: method(function (reason, allowReconnect) { this.caller.close(reason, allowReconnect); }),
    WhoAmI: method(function () {
      const { id, user, protocol, query, headers } = this.caller;
      return { id, user, protocol, query, headers };
    }),
    Pushes: method(function (n) {
      for (let i = 0; i < n; i++) this.caller.reply("push", i);
      return n;
    }),
    Join: method(async function (group) {
      if (!group) throw new Error("a group needs a name");
      await this.caller.join(group);
    }),
    Leave: method(async function (group) {
      if (!group) throw new Error("a group needs a name");
      await this.caller.leave(group);
    }),
    Send: method(function (to, names, target, value) {
      if (to.startsWith("group") && names.some((n) => !n)) throw new Error("a group needs a name");
      const { caller } = this;
      const sends = { caller: ["client", caller.id], all: ["all"], others: ["all", caller.id], allExcept: ["all", ...names], groupExcept: ["group", ...names], othersInGroup: ["group", names[0], caller.id] };
      caller.send(sends[to] ?? [to, ...names], target, value);
    }),
    Count: stream((n) => count(n)),
    Channel: stream((n) => count(n)),
    FailFirst: stream(() => { throw new Error("too early"); }),
    NoStream: stream(() => undefined),
    FailLater: stream(async function* () {
      yield 1;
      yield 2;
      throw new Error("too late");
    }),
    Endless: stream(async function* (name) {
      yield* [0, 1, 2];
      await aborted(this.signal);
      tell(name, "cancelled");
    }),
    Starting: stream(async function (name) {
      const { signal } = this;
      const first = await enter(name, signal);
      return (async function* () {
        yield first;
        yield await next(name, signal);
      })();
    }),
    Concat: method(async function () {
      let all = "";
      for await (const part of this.uploads[0]) all += part;
      return all;
    }, { uploads: 1 }),
    Sum: method(async function (from) {
      for await (const n of typed(this.uploads[0], "number")) from += n;
      return from;
    }, { uploads: 1 }),
    Zip: method(async function (between) {
      const all = [];
      for (const u of this.uploads) for await (const item of u) all.push(item);
      return all.join(between);
    }, { uploads: 2 }),
    Double: stream(async function* () {
      for await (const n of this.uploads[0]) yield 2 * n;
    }, { uploads: 1 }),
    First: method(async function () {
      for await (const n of this.uploads[0]) return n;
      return -1;
    }, { uploads: 1 }),
    Ask: method(function (id, target, question) {
      this.free(); // while a client thinks, others may be called
      return text(this.caller.ask(id, target, question));
    }),
    AskOutside: method(function (id, target, question) { return text(this.caller.ask(id, target, question)); }),
    AskGroup: method(() => { throw new Safe("InvokeAsync only works with Single clients."); }),
  };
  return {
    methods,
    connected(caller) {
      switch (caller.query.connected?.[0]) {
        case "fails":
          throw new Error("not today");
        case "asks":
          throw Object.assign(new Error("Client results inside OnConnectedAsync Hub methods are not allowed."), { name: "InvalidOperationException" });
        case "greets":
          caller.reply("greeting", "hello");
      }
    },
    disconnected(caller, error) {
      if (caller.query.watch) tell(caller.query.watch[0], `disconnected: ${error}`);
    },
  };
}

