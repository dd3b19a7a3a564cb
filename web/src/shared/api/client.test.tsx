import { HttpResponse, http } from "msw";
import { setupServer } from "msw/node";
import { afterAll, beforeAll, expect, it } from "vitest";

import { api } from "./client";

const names = Array.from({ length: 120 }, (_, n) => `hub${n}`);
const server = setupServer(
  http.get("*/v1/tenants/:tenant/hubs", ({ request }) => {
    const query = new URL(request.url).searchParams;
    const from = Number(query.get("cursor") ?? 0);
    const to = from + Math.min(Number(query.get("limit") ?? 50), 60);
    const hubs = names.slice(from, to).map((name) => ({ name }));
    return HttpResponse.json({ hubs, ...(to < names.length && { next_cursor: String(to) }) });
  }),
);
beforeAll(() => server.listen({ onUnhandledRequest: "error" }));
afterAll(() => server.close());

const params = { path: { tenant: "acme" } };

it("shows lists whole, however many pages they have", async () => {
  const { data } = await api.GET("/v1/tenants/{tenant}/hubs", { params });
  expect(data?.hubs.map(({ name }) => name)).toEqual(names);
  expect(data?.next_cursor).toBeUndefined();
});

it("leaves alone what asked for a page", async () => {
  const { data } = await api.GET("/v1/tenants/{tenant}/hubs", { params: { ...params, query: { limit: 10 } } });
  expect(data?.hubs).toHaveLength(10);
  expect(data?.next_cursor).toBe("10");
});
