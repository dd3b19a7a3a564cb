import type { Limit } from "@/shared/api/types";

/** How close a limit is; unmeasured where no use of it is kept. */
export type Headroom = "unmeasured" | "fine" | "near" | "reached";

/** Near from 80 % on. */
export function headroom({ used, max }: Pick<Limit, "used" | "max">): Headroom {
  if (used === undefined) return "unmeasured";
  if (used >= max) return "reached";
  return used >= 0.8 * max ? "near" : "fine";
}
