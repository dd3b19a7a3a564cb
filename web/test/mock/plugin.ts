import type { IncomingMessage } from "node:http";

import { getResponse } from "msw";
import type { Connect, Plugin } from "vite";

import { hub } from "./data.ts";
import { credentials, handlers, type MockState } from "./handlers.ts";

const fresh = (): MockState => ({ signedIn: false, quiet: false, hubs: [hub], ...credentials() });

/**
 * Answers the console's requests from memory, for looking at pages without a
 * server (`npm run dev:mock`). POST /mock/reset takes the state to begin with.
 */
export function mockApi(): Plugin {
  let state = fresh();
  const answer: Connect.NextHandleFunction = async (incoming, outgoing, next) => {
    const url = incoming.url ?? "";
    if (url === "/mock/reset") {
      state = { ...fresh(), ...(JSON.parse(await bodyOf(incoming)) as Partial<MockState>) };
      outgoing.end();
      return;
    }
    if (!url.startsWith("/v1/")) {
      next();
      return;
    }
    const method = incoming.method ?? "GET";
    const body = method === "GET" || method === "DELETE" ? null : await bodyOf(incoming);
    const response = await getResponse(handlers(state), new Request(`http://mock.test${url}`, { method, body }));
    outgoing.statusCode = response?.status ?? 404;
    response?.headers.forEach((value, name) => outgoing.setHeader(name, value));
    outgoing.end(await response?.text());
  };
  return {
    name: "signalbox-mock-api",
    configureServer: (server) => void server.middlewares.use(answer),
    configurePreviewServer: (server) => void server.middlewares.use(answer),
  };
}

async function bodyOf(incoming: IncomingMessage): Promise<string> {
  let body = "";
  for await (const chunk of incoming) body += String(chunk);
  return body;
}
