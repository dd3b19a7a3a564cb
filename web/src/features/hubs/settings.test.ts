import { describe, expect, it } from "vitest";

import { checkClientTimeout, checkKeepAlive, checkName, checkOrigins, initialForm, settingsOf } from "./settings";

describe("hub settings", () => {
  it("begin with the service's defaults", () => {
    expect(settingsOf(initialForm(undefined))).toEqual({
      handler: "auto",
      keep_alive_seconds: 15,
      client_timeout_seconds: 30,
      allowed_origins: [],
    });
  });

  it.each(["chat", "Chat_2", "a-b", "a`,.[]"])("allow the name %s", (name) => expect(checkName(name)).toBeNull());
  it.each(["", "2chat", "a b", "ä", "a".repeat(129)])("refuse the name %s", (name) => expect(checkName(name)).not.toBeNull());

  it.each([0, 301, 1.5, "", "x"])("refuse a keep-alive of %s", (value) => expect(checkKeepAlive(value)).not.toBeNull());

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
