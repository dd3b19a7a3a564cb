import { z } from "@/shared/zod";

// Errors may come from a proxy in front of the API, so nothing is taken on trust.
const problemSchema = z.object({
  title: z.string().default(""),
  status: z.number().optional(),
  code: z.string().default("unexpected"),
  detail: z.string().optional(),
  request_id: z.string().optional(),
  errors: z
    .array(z.object({ field: z.string(), message: z.string(), accepted: z.string().optional() }))
    .default([]),
});

/** One field that the API refused. */
export interface FieldProblem {
  field: string;
  message: string;
  accepted?: string | undefined;
}

/** Every failed request, as the console sees it. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";

  constructor(
    /** HTTP status; 0 when no answer came. */
    readonly status: number,
    /** The API's stable code, or `unreachable` or `unexpected`. */
    readonly code: string,
    message: string,
    readonly fields: readonly FieldProblem[] = [],
    readonly requestId?: string,
    /** From Retry-After, in seconds. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

// Codes whose own wording is too terse for a person, or that carry no detail.
const messages: Record<string, string> = {
  unauthenticated: "Your session has ended. Sign in again.",
  forbidden: "Your role does not allow this.",
  rate_limited: "Too many attempts. Wait a moment and try again.",
  unavailable: "The service is not available right now. Try again shortly.",
  internal: "Something went wrong on our side.",
};

/** Turns a failed response into a ProblemError; it never throws. */
export async function problemFromResponse(response: Response): Promise<ProblemError> {
  const body: unknown = await response
    .clone()
    .json()
    .catch(() => undefined);
  const parsed = problemSchema.safeParse(body);
  const retryAfter = Number(response.headers.get("Retry-After")) || undefined;
  if (!parsed.success) {
    return new ProblemError(
      response.status,
      "unexpected",
      `The server answered ${response.status} without saying why.`,
      [],
      response.headers.get("X-Request-Id") ?? undefined,
      retryAfter,
    );
  }
  const problem = parsed.data;
  const message = problem.detail || messages[problem.code] || problem.title || "The request failed.";
  return new ProblemError(
    response.status,
    problem.code,
    message,
    problem.errors,
    problem.request_id,
    retryAfter,
  );
}

/** The error of a request that got no answer at all. */
export function unreachable(): ProblemError {
  return new ProblemError(0, "unreachable", "The server can't be reached. Check your connection.");
}

/** Anything thrown, as a ProblemError. */
export function toProblem(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  return new ProblemError(0, "unexpected", "Something unexpected happened in this page.");
}

/**
 * Splits a problem for a form: messages for the fields the form has, by the
 * form's own names, and one text for the rest (undefined when every complaint
 * found its field). `names` maps API fields to form fields.
 */
export function formProblem<Field extends string>(
  error: unknown,
  names: Readonly<Record<string, Field>>,
): { fields: Partial<Record<Field, string>>; rest: string | undefined } {
  const problem = toProblem(error);
  const fields: Partial<Record<Field, string>> = {};
  const rest: string[] = [];
  for (const { field, message, accepted } of problem.fields) {
    const text = sentence(accepted ? `${message} (accepted: ${accepted})` : message);
    // allowed_origins.2 belongs to the field allowed_origins.
    const name = names[field] ?? names[field.split(/[.[]/, 1)[0] ?? ""];
    if (name) fields[name] ??= text;
    else rest.push(`${field}: ${text}`);
  }
  if (problem.fields.length === 0) rest.push(problem.message);
  return { fields, rest: rest.length > 0 ? rest.join(" ") : undefined };
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?)]$/.test(first) ? first : `${first}.`;
}
