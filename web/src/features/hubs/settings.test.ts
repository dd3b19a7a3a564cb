import { describe, expect, it } from "vitest";

import { hub } from "../../../test/mock/data";
import { checkClientTimeout, checkKeepAlive, checkName, checkOrigins, checkPartitions, checkRuleURL, initialForm, settingsOf } from "./settings";

describe("hub settings", () => {
  it("begin with the service's defaults", () => {
    expect(settingsOf(initialForm(undefined))).toEqual({
      handler: "auto",
      history: { seconds: 0, messages: 0, bytes: 0, group_index: false },
      gaps: "close",
      partitions: 1,
      close_on_expiry: false,
      keep_alive_seconds: 15,
      client_timeout_seconds: 30,
      allowed_origins: [],
      upstream: { mode: "azure", rules: [], timeout_seconds: 5, reconnect_seconds: 0 },
    });
  });

  it("keep the rules of an upstream, with the patterns that the form doesn't show", () => {
    const upstream = {
      mode: "native" as const,
      timeout_seconds: 10,
      reconnect_seconds: 3,
      rules: [{ url: "https://example.com/{event}", event: "send", category: "messages" }, { url: "https://example.com/" }],
    };
    const form = initialForm({ ...hub, upstream });
    expect(settingsOf(form).upstream).toEqual(upstream);
    expect(settingsOf({ ...form, mode: "azure" }).upstream?.reconnect_seconds).toBe(0);
  });

  it.each(["https://example.com", "http://127.0.0.1:7071/api?code=x", "https://example.com/{hub}/{event}?c={category}"])(
    "allow the upstream %s",
    (url) => expect(checkRuleURL(url)).toBeNull(),
  );
  it.each(["", "example.com", "ftp://example.com", "https://{hub}.example.com/", "https://a@example.com/", "https://example.com/#x", "https://example.com/a b"])(
    "refuse the upstream %s",
    (url) => expect(checkRuleURL(url)).not.toBeNull(),
  );

  it("close connections with their tokens where the hub does", () => {
    expect(settingsOf(initialForm({ ...hub, close_on_expiry: true })).close_on_expiry).toBe(true);
  });

  it.each(["chat", "Chat_2", "a-b", "a`,.[]"])("allow the name %s", (name) => expect(checkName(name)).toBeNull());
  it.each(["", "2chat", "a b", "ä", "a".repeat(129)])("refuse the name %s", (name) => expect(checkName(name)).not.toBeNull());

  it.each([0, 301, 1.5, "", "x"])("refuse a keep-alive of %s", (value) => expect(checkKeepAlive(value)).not.toBeNull());

  it.each([0, 17, 1.5, ""])("refuse %s partitions", (value) => expect(checkPartitions(value)).not.toBeNull());

  it("want a timeout of at least twice the keep-alive", () => {
    expect(checkClientTimeout(30, 15)).toBeNull();
    expect(checkClientTimeout(29, 15)).toBe("At least twice the keep-alive.");
    expect(checkClientTimeout(601, 15)).toBe("Whole seconds from 2 to 600.");
  });

  it("want origins without a path", () => {
    expect(checkOrigins(["https://app.example.com", "http://localhost:3000"])).toBeNull();
    expect(checkOrigins(["https://app.example.com/x"])).toContain("https://app.example.com/x");
  });
});
