import { expect, it } from "vitest";

import { actionProblem, filterOf } from "./useAuditFilter";

const none = { action: "", actor: "", tenant: "", from: "", to: "" };

it("asks for what is filled in and can be asked for", () => {
  expect(filterOf(none)).toEqual({});
  expect(filterOf({ ...none, action: "Tenant", actor: "  ", from: "soon" })).toEqual({});
  expect(filterOf({ action: "tenant.suspended", actor: " ada ", tenant: "t1", from: "2026-11-30T10:00Z", to: "2026-11-30T11:00Z" })).toEqual({
    action: "tenant.suspended",
    actor: "ada",
    tenant: "t1",
    from: "2026-11-30T10:00:00.000Z",
    to: "2026-11-30T11:00:00.000Z",
  });
});

it.each([
  ["", undefined],
  ["tenant", undefined],
  ["tenant.suspended", undefined],
  ["tenant.suspended.again", "Small letters, _ and one dot"],
  ["Tenant", "Small letters, _ and one dot"],
])("judges the action %o", (action, problem) => expect(actionProblem(action)).toBe(problem));
