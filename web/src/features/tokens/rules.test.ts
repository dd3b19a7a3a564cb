import { expect, it } from "vitest";

import { endOf, given, needsGroup } from "./rules";

it("leaves out what is blank", () => {
  expect([given(""), given("  "), given(" ann ")]).toEqual([undefined, undefined, "ann"]);
});

it("asks for a group unless the question is about connecting", () => {
  expect([needsGroup("connect"), needsGroup("joinGroup"), needsGroup("readHistory")]).toEqual([false, true, true]);
});

it("shows no end of what stays until it is lifted", () => {
  const now = Date.parse("2026-11-22T10:00:00Z");
  expect(endOf("2026-11-23T10:02:00Z", now)).toBe("2026-11-23T10:02:00Z");
  expect(endOf("2126-11-22T10:00:00Z", now)).toBeUndefined();
});
