import { describe, expect, it } from "vitest";

import { formProblem, problemFromResponse, ProblemError, toProblem, unreachable } from "./problem";

const answer = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers });

describe("problemFromResponse", () => {
  it("keeps status, code, detail, fields and request id", async () => {
    const problem = await problemFromResponse(
      answer(400, {
        type: "/problems/invalid",
        title: "Invalid",
        status: 400,
        code: "invalid",
        detail: "2 fields are wrong.",
        request_id: "r1",
        errors: [{ field: "handler", message: "is unknown", accepted: "auto, broadcast" }],
      }),
    );
    expect(problem).toMatchObject({ status: 400, code: "invalid", message: "2 fields are wrong.", requestId: "r1" });
    expect(problem.fields).toEqual([{ field: "handler", message: "is unknown", accepted: "auto, broadcast" }]);
  });

  it("has words of its own for a code without detail", async () => {
    const problem = await problemFromResponse(answer(429, { code: "rate_limited" }, { "Retry-After": "7" }));
    expect(problem.message).toBe("Too many attempts. Wait a moment and try again.");
    expect(problem.retryAfter).toBe(7);
  });

  it.each([
    ["a page of a proxy", "<html>Bad gateway</html>"],
    ["fields of the wrong type", { code: 7, errors: "no" }],
    ["null", "null"],
  ])("survives %s", async (_, body) => {
    const problem = await problemFromResponse(answer(502, body));
    expect(problem).toMatchObject({ status: 502, code: "unexpected", fields: [] });
    expect(problem.message).toContain("502");
  });
});

describe("toProblem", () => {
  it("hands a ProblemError through", () => {
    const problem = unreachable();
    expect(toProblem(problem)).toBe(problem);
  });

  it("does not show the text of a stray exception", () => {
    expect(toProblem(new TypeError("x is undefined")).message).not.toContain("undefined");
  });
});

describe("formProblem", () => {
  const names = { email: "email", allowed_origins: "origins" } as const;

  it("puts a message at its field, with what would be accepted", () => {
    const error = new ProblemError(400, "invalid", "Invalid", [
      { field: "email", message: "is too long", accepted: "up to 254 characters" },
    ]);
    expect(formProblem(error, names)).toEqual({
      fields: { email: "Is too long (accepted: up to 254 characters)" },
      rest: undefined,
    });
  });

  it("puts a message about a part of a list at the list", () => {
    const error = new ProblemError(400, "invalid", "Invalid", [{ field: "allowed_origins.2", message: "has a path" }]);
    expect(formProblem(error, names).fields).toEqual({ origins: "Has a path." });
  });

  it("keeps the first message of a field", () => {
    const error = new ProblemError(400, "invalid", "Invalid", [
      { field: "email", message: "one" },
      { field: "email", message: "two" },
    ]);
    expect(formProblem(error, names).fields.email).toBe("One.");
  });

  it("names fields that the form does not have", () => {
    const error = new ProblemError(400, "invalid", "Invalid", [{ field: "plan", message: "is unknown" }]);
    expect(formProblem(error, names)).toEqual({ fields: {}, rest: "plan: Is unknown." });
  });

  it("says the whole problem when no field is named", () => {
    expect(formProblem(new ProblemError(409, "conflict", "Taken."), names).rest).toBe("Taken.");
  });
});
