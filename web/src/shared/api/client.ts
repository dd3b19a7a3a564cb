import createFetchClient from "openapi-fetch";
import createQueryClient from "openapi-react-query";

import { problemFromResponse, unreachable } from "./problem";
import type { paths } from "./schema";

/** The control plane, at the origin that served the console. */
export const api = createFetchClient<paths>({
  baseUrl: window.location.origin,
  // Looked up at each call, so that tests may replace it.
  fetch: (request) => globalThis.fetch(request),
});

// Every failure leaves the client as a ProblemError: callers read `data` only.
api.use({
  async onResponse({ response }) {
    if (!response.ok) throw await problemFromResponse(response);
    return undefined;
  },
  onError: ({ error }) => (error instanceof Error && error.name === "AbortError" ? error : unreachable()),
});

/** Hooks and query options over `api`, typed by the OpenAPI document. */
export const query = createQueryClient(api);
