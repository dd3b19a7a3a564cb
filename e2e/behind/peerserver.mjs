// Program: the conformance tests' hub on an app server that is no .NET one but
// acts as one. It writes its URL as the first line of its output and ends when
// its input does. SIGTERM lets its clients move first.
import { createServer } from "node:http";

import { Hub, redirect } from "./peer.mjs";
import { testHub } from "./testhub.mjs";

const service = process.env.SIGNALBOX_CONNECTION_STRING;
const prefix = process.env.SIGNALBOX_HUB_PREFIX ?? "";

/** The hubs by path, with what is special about them. */
const mounts = {
  hub: {}, detailed: { detailed: true }, brief: { keepAlive: 300, timeout: 2000 }, secure: {}, websocket: { transports: 1 }, events: { transports: 2 }, polling: { transports: 4 }, stateful: {},
};

const wanted = process.env.SIGNALBOX_MOUNTS?.split(",");
const hubs = {};
for (const [name, options] of Object.entries(mounts).filter(([mount]) => wanted?.includes(mount) ?? true)) {
  const hub = new Hub(service, prefix + name, testHub(), { ...options, connections: name === "hub" ? 5 : 2 });
  hub.on("fault", (error) => {
    console.error(`${name}: the service broke its protocol: ${error.stack}`);
    process.exit(1);
  });
  hub.on("refused", (error) => console.error(`${name}: ${error}`));
  hubs[name] = hub;
}
await Promise.all(Object.values(hubs).map((hub) => new Promise((done) => hub.once("ready", done))));

const server = createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  const [, name, action] = url.pathname.split("/");
  const hub = hubs[name];
  if (!hub || action !== "negotiate") return response.writeHead(404).end();
  let user = url.searchParams.get("user");
  if (name === "secure") {
    user = request.headers.authorization?.replace("Bearer ", "") ?? url.searchParams.get("access_token");
    if (!user || user === "stale") return response.writeHead(401).end();
    if (user === "banned") return response.writeHead(403).end();
  }
  const { transports } = mounts[name];
  response.writeHead(200, { "content-type": "application/json" });
  return response.end(JSON.stringify(redirect(hub, { path: `/${name}`, query: url.search, user, claims: transports && { "asrs.s.htt": String(transports) } })));
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));

process.stdin.resume().once("end", () => process.exit(0));
process.once("SIGTERM", async () => {
  server.close();
  await Promise.all(Object.values(hubs).map((hub) => hub.shutdown()));
  process.exit(0);
});
