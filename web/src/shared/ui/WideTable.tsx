import { Table } from "@mantine/core";
import type { ReactNode } from "react";

import classes from "./WideTable.module.css";

interface Props {
  /** What the rows are: "Hubs". */
  label: string;
  /** Below this width in pixels the table scrolls, by finger and by keyboard. */
  minWidth: number;
  children: ReactNode;
}

/** A table in the console's looks that scrolls sideways where it is narrow. */
export function WideTable({ label, minWidth, children }: Props) {
  return (
    <div className={classes["scroll"]} role="region" aria-label={label} tabIndex={0}>
      <Table
        verticalSpacing="sm"
        horizontalSpacing="lg"
        borderColor="var(--sb-line)"
        miw={minWidth}
        className={classes["table"] ?? ""}
        aria-label={label}
      >
        {children}
      </Table>
    </div>
  );
}
