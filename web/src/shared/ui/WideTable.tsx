import { Table } from "@mantine/core";
import type { ReactNode } from "react";

import classes from "./WideTable.module.css";

interface Props {
  /** What the rows are: "Hubs". */
  label: string;
  children: ReactNode;
}

/** Class of cells that small screens do without. */
export const secondaryCell = classes["secondary"] ?? "";

/** A table in the console's looks. What does not fit scrolls, by finger and by keyboard. */
export function WideTable({ label, children }: Props) {
  return (
    <div className={classes["scroll"]} role="region" aria-label={label} tabIndex={0}>
      <Table
        verticalSpacing="sm"
        horizontalSpacing="lg"
        borderColor="var(--sb-line)"
        className={classes["table"] ?? ""}
        aria-label={label}
      >
        {children}
      </Table>
    </div>
  );
}
