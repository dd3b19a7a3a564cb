import { expect, it } from "vitest";

import { headroom } from "./headroom";

it.each([
  [{ max: 10 }, "unmeasured"],
  [{ max: 10, used: 7 }, "fine"],
  [{ max: 10, used: 8 }, "near"],
  [{ max: 10, used: 10 }, "reached"],
  [{ max: 0, used: 0 }, "reached"],
] as const)("%o is %s", (limit, state) => expect(headroom(limit)).toBe(state));
