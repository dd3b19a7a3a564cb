import { describe, expect, it } from "vitest";

import { isEmpty, refusals, scaleTop, toColumns, type Series } from "./series";
import { noValues } from "../../../test/mock/data";

const series: readonly Series[] = [
  { label: "Accepted", color: "--a", pick: (values) => values.messages_accepted },
  { label: "Delivered", color: "--b", pick: (values) => values.messages_delivered },
];

describe("toColumns", () => {
  it("makes a column of seconds and one for each series", () => {
    const points = [
      { at: "1970-01-01T00:01:00Z", values: { ...noValues, messages_accepted: 2, messages_delivered: 8 } },
      { at: "1970-01-01T00:02:00Z", values: noValues },
    ];
    expect(toColumns(points, series)).toEqual([[60, 120], [2, 0], [8, 0]]);
  });

  it("makes empty columns of nothing", () => {
    const columns = toColumns([], series);
    expect(columns).toEqual([[], [], []]);
    expect(isEmpty(columns)).toBe(true);
  });
});

describe("isEmpty", () => {
  it("is false once any series has a value", () => {
    expect(isEmpty([[60], [0], [1]])).toBe(false);
    expect(isEmpty([[60], [0], [0]])).toBe(true);
  });
});

describe("scaleTop", () => {
  it("stays at the floor for small values and leaves room above large ones", () => {
    expect(scaleTop(1, 5)).toBe(5);
    expect(scaleTop(100, 5)).toBeGreaterThan(100);
  });
});

describe("refusals", () => {
  it("lists codes with the most refusals first and leaves zeroes out", () => {
    expect(refusals({ rate_limited: 2, quota_exceeded: 5, idle: 0, another: 2 })).toEqual([
      { code: "quota_exceeded", count: 5 },
      { code: "another", count: 2 },
      { code: "rate_limited", count: 2 },
    ]);
  });
});
