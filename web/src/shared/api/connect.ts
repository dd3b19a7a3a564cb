import createFetchClient from "openapi-fetch";
import createQueryClient from "openapi-react-query";

import { problemFromResponse, unreachable } from "./problem";

// Lists come in pages. The console shows them whole: what it asks for without
// naming a size is read to its end.
const morePages = 60;

async function wholeList(request: Request, first: Response): Promise<Response> {
  const url = new URL(request.url);
  if (request.method !== "GET" || url.searchParams.has("limit")) return first;
  if (!first.headers.get("Content-Type")?.startsWith("application/json")) return first;
  const whole: Record<string, unknown> = await first.clone().json();
  if (typeof whole["next_cursor"] !== "string") return first;
  url.searchParams.set("limit", "200");
  for (let page = 0; page < morePages && typeof whole["next_cursor"] === "string"; page++) {
    url.searchParams.set("cursor", whole["next_cursor"]);
    const response = await globalThis.fetch(new Request(url, request));
    if (!response.ok) throw await problemFromResponse(response);
    const next: Record<string, unknown> = await response.json();
    for (const [name, things] of Object.entries(next)) {
      const before = whole[name];
      if (Array.isArray(things) && Array.isArray(before)) whole[name] = [...before, ...things];
    }
    whole["next_cursor"] = next["next_cursor"];
  }
  return new Response(JSON.stringify(whole), { status: first.status, headers: first.headers });
}

/** The content of an answer that has one: failures were thrown before. */
export function answered<T>(data: T | undefined): T {
  if (data === undefined) throw new Error("an answer without content");
  return data;
}

/** A client of the API that the document `Paths` describes, at the origin that served the console. */
export function connect<Paths extends object>() {
  const api = createFetchClient<Paths>({
    baseUrl: window.location.origin,
    // Looked up at each call, so that tests may replace it.
    fetch: (request) => globalThis.fetch(request),
  });
  // Every failure leaves the client as a ProblemError: callers read `data` only.
  api.use({
    async onResponse({ request, response }) {
      if (!response.ok) throw await problemFromResponse(response);
      return wholeList(request, response);
    },
    onError: ({ error }) => (error instanceof Error && error.name === "AbortError" ? error : unreachable()),
  });
  return { api, query: createQueryClient(api) };
}
