import { describe, expect, it } from "vitest";

import { formatBytes, formatPercent, formatRelative, percentOf } from "./format";

describe("formatBytes", () => {
  it.each([
    [0, "0 B"],
    [1023, "1,023 B"],
    [1536, "1.5 KiB"],
    [3 * 1024 ** 2, "3 MiB"],
    [2048 * 1024 ** 4, "2,048 TiB"],
  ])("%d is %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));
});

describe("percentOf", () => {
  it.each([
    [1, 4, 25],
    [9, 4, 100],
    [5, 0, 0],
    [-1, 4, 0],
  ])("%d of %d is %d", (part, whole, percent) => expect(percentOf(part, whole)).toBe(percent));

  it("keeps a small share visible", () => expect(formatPercent(0.2)).toBe("<1 %"));
});

describe("formatRelative", () => {
  const now = Date.parse("2026-11-22T20:00:00Z");
  it.each([
    [-3, "just now"],
    [-45, "45 seconds ago"],
    [-180, "3 minutes ago"],
    [3540, "in 59 minutes"],
    [-7200, "2 hours ago"],
    [-86_400, "yesterday"],
  ])("%d seconds from now is %s", (seconds, text) => expect(formatRelative(now + seconds * 1000, now)).toBe(text));
});
