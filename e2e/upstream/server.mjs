// Program: the conformance tests' hub as an upstream, in the format that
// SIGNALBOX_UPSTREAM names, with the tenant's SIGNALBOX_WEBHOOK_SECRET. It gives its hubs their settings, writes its URL as the
// first line of its output and ends, with its hubs, when its input does.
import { createServer } from "node:http";

import { HubConnectionBuilder, LogLevel } from "@microsoft/signalr";

import { testHub } from "../behind/testhub.mjs";
import { call } from "../account.mjs";
import { at, clientToken, eventually } from "../service.mjs";
import { stack } from "../stack.mjs";
import { UpstreamHub } from "./hub.mjs";

const mode = process.env.SIGNALBOX_UPSTREAM;
const prefix = process.env.SIGNALBOX_HUB_PREFIX;
const { api_url: api, api_token: token, service_url: front, edge_urls: edges, tenants: [tenant] } = await stack();
const bearer = { authorization: `Bearer ${token}` };

/** The hubs by path, with what is special about them. */
const mounts = { hub: {}, detailed: { detailed: true }, secure: {}, stateful: {}, websocket: {} };
const webhook = process.env.SIGNALBOX_WEBHOOK_SECRET;
const hubs = Object.fromEntries(Object.entries(mounts).map(([name, options]) => [
  name, new UpstreamHub(prefix + name, mode, testHub(), { rest: front, key: tenant.access_key, webhook, ...options }),
]));

const server = createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  const [, name, action] = url.pathname.split("/");
  if (request.method === "OPTIONS") return response.writeHead(200, { "webhook-allowed-origin": request.headers["webhook-request-origin"] }).end();
  const hub = hubs[name];
  if (!hub) return response.writeHead(404).end();
  if (action !== "negotiate") {
    return hub.serve(request, response).catch((error) => {
      console.error(`${name}: ${error.stack}`);
      response.destroy();
    });
  }
  let user = url.searchParams.get("user");
  if (name === "secure") user = request.headers.authorization?.replace("Bearer ", "");
  if (name === "secure" && !user) return response.writeHead(401).end();
  const to = `${front}/client/?hub=${hub.name}&${url.searchParams}`;
  response.writeHead(200, { "content-type": "application/json" });
  return response.end(JSON.stringify({ url: to, accessToken: clientToken(tenant, { hub: hub.name, user, seconds: 3600 }), availableTransports: [] }));
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const url = `http://127.0.0.1:${server.address().port}`;

for (const [name, hub] of Object.entries(hubs)) {
  const rules = [{ url: `${url}/${name}/{category}/{event}` }];
  await call(api, bearer, "PUT", `/v1/tenants/${tenant.slug}/hubs/${hub.name}`, { handler: "upstream", upstream: { mode, rules, timeout_seconds: 30 } }, 201);
}
// The settings of all hubs travel together: once each edge goes by the last ones, it has all.
const { name: last } = Object.values(hubs).at(-1);
for (const edge of edges) {
  await eventually(async () => {
    const client = new HubConnectionBuilder().withUrl(at(edge, tenant).client(last), { accessTokenFactory: () => clientToken(tenant, { hub: last }) }).configureLogging(LogLevel.None).build();
    await client.start();
    const served = await client.invoke("Nothing").then(() => true, () => false);
    await client.stop();
    return served;
  }, `${edge} to serve ${last}`);
}
console.log(url);

process.stdin.resume().once("end", async () => {
  await Promise.allSettled(Object.values(hubs).map((hub) => call(api, bearer, "DELETE", `/v1/tenants/${tenant.slug}/hubs/${hub.name}`, undefined, 204)));
  process.exit(0);
});
