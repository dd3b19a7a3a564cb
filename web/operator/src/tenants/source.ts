import { formatLimit } from "@/shared/lib/format";
import type { Limit } from "../api/queries";

/** Where the value in force comes from, in a word. */
export function sourceOf({ source, dry_run, set_max }: Limit): { label: string; tone: "neutral" | "warn" } {
  if (dry_run) return { label: "Tried out", tone: "warn" };
  if (source === "operator") return { label: "Operator", tone: "warn" };
  if (source === "account") return { label: "Account", tone: "warn" };
  return { label: set_max === undefined ? "Plan" : "Plan, below what was set", tone: "neutral" };
}

/** What else there is to know of where it comes from. */
export function aboutSource({ source, dry_run, set_max, plan_max, max, unit }: Limit): string | undefined {
  const parts: string[] = [];
  if (source !== "plan") parts.push(`plan: ${formatLimit(plan_max, unit)}`);
  if (dry_run) parts.push(`would be ${formatLimit(set_max ?? plan_max, unit)}`);
  else if (set_max !== undefined && set_max !== max) parts.push(`set: ${formatLimit(set_max, unit)}`);
  return parts.length > 0 ? parts.join(", ") : undefined;
}
