import type { Headroom } from "../lib/headroom";
import { Tag } from "./Tag";

/** How close a limit is, in a word. */
export function HeadroomTag({ state }: { state: Headroom }) {
  switch (state) {
    case "reached":
      return <Tag tone="bad">Reached</Tag>;
    case "near":
      return <Tag tone="warn">Near</Tag>;
    case "fine":
      return <Tag tone="good">Fine</Tag>;
    case "unmeasured":
      return <Tag>Enforced</Tag>;
  }
}
