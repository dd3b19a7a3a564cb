// A chat room behind Signalbox: an upstream in native mode, with nothing but Node.
// Clients call join, say and countdown; see README.md for how to run it.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { setTimeout as pause } from "node:timers/promises";

const { SIGNALBOX_URL, SIGNALBOX_KEY, WEBHOOK_SECRET, PORT = "7301" } = process.env;
const key = Buffer.from(WEBHOOK_SECRET.replace("whsec_", ""), "base64");

/** Is it Signalbox that posts this, now? See standardwebhooks.com. */
function signed(headers, body) {
  const { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": signatures = "" } = headers;
  if (!(Math.abs(Date.now() / 1000 - at) < 300)) return false;
  const want = Buffer.from(createHmac("sha256", key).update(`${id}.${at}.${body}`).digest("base64"));
  return signatures.split(" ").some((s) => {
    const got = Buffer.from(s.replace("v1,", ""));
    return got.length === want.length && timingSafeEqual(got, want);
  });
}

/** Calls the hub's REST API. */
async function rest(method, hub, path, message) {
  const response = await fetch(`${SIGNALBOX_URL}/api/v1/hubs/${hub}${path}`, {
    method,
    headers: { authorization: `Bearer ${SIGNALBOX_KEY}`, "content-type": "application/json" },
    body: message && JSON.stringify(message),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`);
}

const group = (room) => `/groups/${encodeURIComponent(room)}`;

const methods = {
  async join({ hub, connection_id: id, user_id: user }, room) {
    if (!room) throw new Refusal("Which room?");
    await rest("PUT", hub, `${group(room)}/connections/${id}`);
    await rest("POST", hub, group(room), { target: "notice", arguments: [`${user} is here`] });
  },
  async say({ hub, user_id: user }, room, text) {
    await rest("POST", hub, group(room), { target: "message", arguments: [user, text] });
    return new Date().toISOString(); // completes the invocation
  },
  async *countdown(_, from) {
    for (let n = from; n >= 0; n--) {
      yield n;
      await pause(100);
    }
  },
};

/** What the client is told; other errors it isn't. */
class Refusal extends Error {}

async function answer(request, response) {
  if (request.method === "OPTIONS") {
    // Signalbox asks once, when the URL is saved, whether we want its requests.
    return response.writeHead(204, { "webhook-allowed-origin": request.headers["webhook-request-origin"] }).end();
  }
  const body = Buffer.concat(await request.toArray()).toString();
  if (!signed(request.headers, body)) return response.writeHead(401).end();
  const call = JSON.parse(body);
  if (call.type !== "invocation") return response.writeHead(204).end(); // connected, disconnected
  if (!Object.hasOwn(methods, call.target)) throw new Refusal("Method does not exist.");

  const result = methods[call.target](call, ...call.arguments);
  if (call.stream) {
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    for await (const item of result) {
      if (response.destroyed) return; // the client has cancelled or left
      response.write(`${JSON.stringify(item)}\n`);
    }
    return response.end();
  }
  const value = await result;
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value ?? null));
}

createServer((request, response) =>
  answer(request, response).catch((error) => {
    if (!(error instanceof Refusal)) console.error(error);
    if (response.headersSent) return response.destroy();
    response
      .writeHead(error instanceof Refusal ? 400 : 500, { "content-type": "application/problem+json" })
      .end(JSON.stringify({ detail: error.message }));
  }),
).listen(Number(PORT), "127.0.0.1", function () {
  console.log(`listening on http://127.0.0.1:${this.address().port}`);
});
