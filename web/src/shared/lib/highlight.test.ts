import { expect, it } from "vitest";

import { highlight } from "./highlight";

const code = 'const url = "http://x/y"; // why\ncurl -H \'a\' # too';

const of = (kind: string) =>
  highlight(code)
    .filter((part) => part.kind === kind)
    .map(({ text }) => text);

it("loses nothing of the code", () => {
  expect(highlight(code).map(({ text }) => text).join("")).toBe(code);
});

it("tells strings, comments and keywords apart", () => {
  expect(of("string")).toEqual(['"http://x/y"', "'a'"]);
  expect(of("comment")).toEqual(["// why", "# too"]);
  expect(of("keyword")).toEqual(["const", "curl"]);
});
