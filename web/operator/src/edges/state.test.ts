import { expect, it } from "vitest";

import type { Edge } from "../api/queries";
import { lagOf, shortRevision, stateOf } from "./state";

const edge: Edge = { id: "a1", address: "10.0.0.1:20031", reachable: true, ready: true, drained: false, draining: false, cut_off: false, redis_away: false };

it.each<[string, Partial<Edge>]>([
  ["Ready", {}],
  ["Not ready", { ready: false }],
  ["Drained", { ready: false, drained: true, redis_away: true }],
  ["About to end", { ready: false, drained: true, draining: true }],
  ["Cut off from Redis", { ready: false, cut_off: true, redis_away: true }],
  ["Redis is away", { redis_away: true }],
  ["Doesn't answer", { reachable: false, ready: undefined }],
])("says %s", (label, what) => expect(stateOf({ ...edge, ...what }).label).toBe(label));

it("says how far an edge is behind", () => {
  expect(lagOf(edge)).toBe("none");
  expect(lagOf({ ...edge, lag_seconds: 0.0001 })).toBe("1 ms");
  expect(lagOf({ ...edge, lag_seconds: 0.35, entries_waiting: 1 })).toBe("350 ms, 1 entry waits");
  expect(lagOf({ ...edge, lag_seconds: 12.34, entries_waiting: 1234, hubs_behind: 2 })).toBe("12.3 s, 1,234 entries wait, 2 hubs behind");
  expect(lagOf({ ...edge, lag_seconds: 200, hubs_behind: 1 })).toBe("3 min, 1 hub behind");
  expect(lagOf({ ...edge, redis_away: true })).toBe("unknown");
  expect(lagOf({ id: "b", address: "", reachable: false })).toBe("unknown");
});

it("cuts revisions", () => expect(shortRevision("0123456789abcdef")).toBe("01234567"));
