import type { ReactNode } from "react";

import classes from "./Tag.module.css";

type Tone = "neutral" | "good" | "warn" | "bad";

/** A short word about a thing, in a tone whose contrast holds in both schemes. */
export function Tag({ tone = "neutral", children }: { tone?: Tone; children: ReactNode }) {
  return (
    <span className={classes["tag"]} data-tone={tone}>
      {children}
    </span>
  );
}
