import { expect, it } from "vitest";

import type { Limit } from "../api/queries";
import { aboutSource, sourceOf } from "./source";

const limit: Limit = { limit: "max_connections", title: "Connections", unit: "connections", max: 1000, plan_max: 1000, source: "plan", lowest: 1, highest: 9000, can_dry_run: true };

it.each<[Partial<Limit>, string, string | undefined]>([
  [{}, "Plan", undefined],
  [{ source: "operator", max: 5000, set_max: 5000 }, "Operator", "plan: 1,000 connections"],
  [{ source: "account", max: 10, set_max: 10 }, "Account", "plan: 1,000 connections"],
  [{ set_max: 2000 }, "Plan, below what was set", "set: 2,000 connections"],
  [{ set_max: 2000, dry_run: true }, "Tried out", "would be 2,000 connections"],
  [{ source: "operator", max: 20, set_max: 40 }, "Operator", "plan: 1,000 connections, set: 40 connections"],
])("%o comes from %s", (what, label, about) => {
  expect(sourceOf({ ...limit, ...what }).label).toBe(label);
  expect(aboutSource({ ...limit, ...what })).toBe(about);
});
