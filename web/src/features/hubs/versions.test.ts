import { describe, expect, it } from "vitest";

import { differences } from "./versions";

describe("differences", () => {
  it("names what differs, by path, and nothing else", () => {
    expect(
      differences(
        { handler: "auto", allowed_origins: [], history: { seconds: 0, group_index: false } },
        { handler: "auto", allowed_origins: ["https://a.example"], history: { seconds: 600, group_index: false } },
      ),
    ).toEqual([
      { setting: "allowed_origins", from: "none", to: "https://a.example" },
      { setting: "history.seconds", from: "0", to: "600" },
    ]);
  });

  it("compares with no settings at all", () => {
    expect(differences({ handler: "broadcast" }, undefined)).toEqual([
      { setting: "handler", from: "broadcast", to: undefined },
    ]);
    expect(differences(undefined, undefined)).toEqual([]);
  });

  it("shows rules as they are", () => {
    const rule = { url: "https://x.example/{event}" };
    expect(differences({ upstream: { rules: [] } }, { upstream: { rules: [rule] } })).toEqual([
      { setting: "upstream.rules", from: "none", to: JSON.stringify(rule) },
    ]);
  });
});
