import { Skeleton } from "@mantine/core";
import type { ReactNode } from "react";

import classes from "./Figures.module.css";

/** A row of figures that breaks where it is narrow. */
export function Figures({ children }: { children: ReactNode }) {
  return <dl className={classes["figures"]}>{children}</dl>;
}

interface FigureProps {
  label: string;
  /** Undefined while it is loading: its place is kept. */
  value: ReactNode;
  note?: ReactNode;
}

/** One number that matters, its name and what it counts. */
export function Figure({ label, value, note }: FigureProps) {
  return (
    <div className={classes["figure"]}>
      <dt className={classes["label"]}>{label}</dt>
      <dd className={classes["value"]}>{value ?? <Skeleton height={22} width={72} mt={7} />}</dd>
      <dd className={classes["note"]}>{note}</dd>
    </div>
  );
}
