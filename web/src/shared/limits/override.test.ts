import { expect, it } from "vitest";

import type { Limit } from "../api/types";
import { checkMax, initialForm, overrideOf } from "./override";

const limit: Limit = {
  limit: "calls_per_second",
  title: "Calls per second of a connection",
  max: 10,
  plan_max: 10,
  unit: "calls/s",
  scope: "connection",
  kind: "throttle",
  source: "plan",
  lowest: 1,
  highest: 20,
  can_dry_run: true,
  counted: "edge",
  shown: "used",
};

it("begins with the plan's value, or the override's", () => {
  expect(initialForm(limit)).toEqual({ max: 10, expires: "never", dryRun: false });
  const override = { max: 5, dry_run: true, expires_at: "2026-12-01T00:00:00Z" };
  expect(initialForm({ ...limit, override })).toEqual({ max: 5, expires: "86400000", dryRun: true });
});

it.each([
  [1, null],
  [20, null],
  [0, "A whole number from 1 to 20 (20 calls/s)"],
  [21, "A whole number from 1 to 20 (20 calls/s)"],
  ["", "A whole number from 1 to 20 (20 calls/s)"],
])("judges %o", (max, problem) => expect(checkMax(max, limit)).toBe(problem));

it("sends what the API takes", () => {
  const now = Date.UTC(2026, 10, 30);
  expect(overrideOf({ max: 5, expires: "never", dryRun: false }, now)).toEqual({ max: 5, dry_run: false });
  expect(overrideOf({ max: 5, expires: "3600000", dryRun: true }, now)).toEqual({
    max: 5,
    dry_run: true,
    expires_at: "2026-11-30T01:00:00.000Z",
  });
});
