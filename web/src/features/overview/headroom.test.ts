import { expect, it } from "vitest";

import { headroom } from "./headroom";

it.each([
  [{ value: 10 }, "unmeasured"],
  [{ value: 10, used: 7 }, "fine"],
  [{ value: 10, used: 8 }, "near"],
  [{ value: 10, used: 10 }, "reached"],
  [{ value: 0, used: 0 }, "reached"],
] as const)("%o is %s", (limit, state) => expect(headroom(limit)).toBe(state));
