import type { Limit, LimitOverride } from "../api/types";
import { formatLimit } from "../lib/format";

const hour = 3_600_000;

/** When an override ends: the choices of the dialog. */
export const expiries = [
  { value: "never", label: "Never" },
  { value: String(hour), label: "In an hour" },
  { value: String(24 * hour), label: "In a day" },
  { value: String(7 * 24 * hour), label: "In a week" },
  { value: String(30 * 24 * hour), label: "In 30 days" },
];

export interface LimitForm {
  max: number | string;
  expires: string;
  dryRun: boolean;
}

/** The API's names of fields, and the form's. */
export const fieldNames = { max: "max", expires_at: "expires", dry_run: "dryRun" } as const;

/** What the form begins with. */
export const initialForm = ({ override, plan_max, highest }: Pick<Limit, "override" | "plan_max" | "highest">): LimitForm => ({
  max: Math.min(override?.max ?? plan_max, highest),
  expires: override?.expires_at ? String(24 * hour) : "never",
  dryRun: override?.dry_run ?? false,
});

/** What is wrong with a value. */
export function checkMax(max: number | string, { lowest, highest, unit }: Pick<Limit, "lowest" | "highest" | "unit">): string | null {
  return typeof max === "number" && Number.isInteger(max) && max >= lowest && max <= highest
    ? null
    : `A whole number from ${lowest.toLocaleString("en")} to ${highest.toLocaleString("en")} (${formatLimit(highest, unit)})`;
}

/** The form as the API takes it. */
export function overrideOf({ max, expires, dryRun }: LimitForm, now = Date.now()): LimitOverride {
  const override: LimitOverride = { max: Number(max), dry_run: dryRun };
  if (expires !== "never") override.expires_at = new Date(now + Number(expires)).toISOString();
  return override;
}
