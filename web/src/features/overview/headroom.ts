import type { Limit } from "@/shared/api/types";

/** How close a limit is; unmeasured where no use of it is kept. */
export type Headroom = "unmeasured" | "fine" | "near" | "reached";

/** Near from 80 % on. */
export function headroom({ used, value }: Pick<Limit, "used" | "value">): Headroom {
  if (used === undefined) return "unmeasured";
  if (used >= value) return "reached";
  return used >= 0.8 * value ? "near" : "fine";
}
