import { execFileSync } from "node:child_process";

import { describe, expect, it } from "vitest";

import { browserSnippet, curlSnippet, nodeSnippet, type SnippetValues } from "./snippets";

const values: SnippetValues = {
  clientUrl: "http://127.0.0.1:8888/t/acme/client/?hub=chat",
  clientToken: "client.jwt.token",
  restUrl: "http://127.0.0.1:8888/t/acme/api/v1/hubs/chat",
  restToken: "rest.jwt.token",
};

// The arguments that a shell hands to curl for the command.
function curlArguments(command: string): string[] {
  const script = `curl() { for word in "$@"; do printf '%s\\0' "$word"; done; }\n${command}`;
  return execFileSync("/bin/sh", ["-c", script], { encoding: "utf8" }).split("\0").slice(0, -1);
}

describe("curlSnippet", () => {
  it("is what a shell reads as one publish", () => {
    expect(curlArguments(curlSnippet(values))).toEqual([
      values.restUrl,
      "-H",
      "Authorization: Bearer rest.jwt.token",
      "-H",
      "Content-Type: application/json",
      "-d",
      '{"target": "hello", "arguments": ["world"]}',
    ]);
  });

  it.each(["it's", "$(reboot)", "`reboot`", 'a"b', String.raw`a\b`, "a!b"])("lets the shell expand nothing in %s", (odd) => {
    expect(curlArguments(curlSnippet({ ...values, restUrl: odd }))[0]).toBe(odd);
  });
});

describe("nodeSnippet", () => {
  it("carries the address and the token", () => {
    const code = nodeSnippet(values);
    expect(code).toContain(`const url = "${values.clientUrl}";`);
    expect(code).toContain(`const token = "${values.clientToken}";`);
  });

  it("quotes what could end the string", () => {
    expect(nodeSnippet({ ...values, clientToken: 'a";evil();"' })).toContain(String.raw`"a\";evil();\""`);
  });
});

describe("browserSnippet", () => {
  it("can't be closed early by a value", () => {
    const code = browserSnippet({ ...values, clientToken: "</script><script>evil()" });
    expect(code.match(/<\/script>/g)).toHaveLength(2);
  });
});
