import { describe, expect, it } from "vitest";

import { month, noValues, usage } from "../../../test/mock/data";
import { mergeUsage, readActivity, readUsage } from "./events";

const at = (minute: number) => new Date(minute * 60_000).toISOString();
const point = (minute: number, accepted: number) => ({
  at: at(minute),
  values: { ...noValues, messages_accepted: accepted, messages: accepted, peak_connections: accepted },
});
const hour = { ...usage("minute", true), points: [point(1, 1), point(2, 2), point(3, 3)] };
const live = (...points: ReturnType<typeof point>[]) => ({ tenant_id: "t", points, month });

describe("mergeUsage", () => {
  it("replaces points with the same start", () => {
    const merged = mergeUsage(hour, live(point(3, 30)));
    expect(merged.points.map(({ values }) => values.messages_accepted)).toEqual([1, 2, 30]);
  });

  it("moves on: as many points as before, the oldest gone", () => {
    const merged = mergeUsage(hour, live(point(4, 4), point(5, 5)));
    expect(merged.points.map((each) => each.at)).toEqual([at(3), at(4), at(5)]);
    expect(merged.from).toBe(at(3));
  });

  it("takes starts as times, not as texts", () => {
    const merged = mergeUsage(hour, live({ ...point(3, 9), at: "1970-01-01T00:03:00Z" }));
    expect(merged.points).toHaveLength(3);
  });

  it("adds the totals up again and takes the live month", () => {
    const merged = mergeUsage(hour, live(point(3, 30)));
    expect(merged.totals.messages_accepted).toBe(33);
    expect(merged.totals.peak_connections).toBe(30);
    expect(merged.month).toEqual(month);
  });

  it("adds refusals up by code", () => {
    const refused = { ...point(3, 0), values: { ...noValues, refused: { rate_limited: 2 } } };
    const also = { ...point(4, 0), values: { ...noValues, refused: { rate_limited: 1, quota_exceeded: 1 } } };
    expect(mergeUsage(hour, live(refused, also)).totals.refused).toEqual({ rate_limited: 3, quota_exceeded: 1 });
  });
});

describe("readActivity and readUsage", () => {
  const activity = { tenant_id: "t", connections_now: 2, first_connection_at: at(1) };

  it("read what the service sends for the tenant", () => {
    expect(readActivity(activity, "t")).toEqual(activity);
    expect(readUsage(live(point(1, 1)), "t")?.points).toHaveLength(1);
  });

  it("refuse what is for another tenant", () => {
    expect(readActivity(activity, "other")).toBeUndefined();
    expect(readUsage(live(point(1, 1)), "other")).toBeUndefined();
  });

  it.each([undefined, null, "x", {}, { tenant_id: "t", connections_now: "2" }])("refuse %o", (argument) => {
    expect(readActivity(argument, "t")).toBeUndefined();
    expect(readUsage(argument, "t")).toBeUndefined();
  });
});
