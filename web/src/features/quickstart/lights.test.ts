import { expect, it } from "vitest";

import { lights } from "./lights";

const activity = { tenant_id: "t", connections_now: 0 };
const first = "2026-11-22T20:00:00Z";

it.each([
  ["activity is unknown", undefined, [false, false]],
  ["nothing has happened", activity, [false, false]],
  ["a client has connected", { ...activity, first_connection_at: first }, [true, false]],
  ["a message came before any client", { ...activity, first_message_at: first }, [false, true]],
  ["both have happened", { ...activity, first_connection_at: first, first_message_at: first }, [true, true]],
])("when %s", (_, known, expected) => {
  expect(lights(known).map(({ on }) => on)).toEqual(expected);
});
