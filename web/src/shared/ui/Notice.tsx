import type { ReactNode } from "react";

import classes from "./Notice.module.css";

interface Props {
  tone: "warn" | "bad";
  icon: ReactNode;
  title?: string;
  /** Interrupt a screen reader with it: for what went wrong just now. */
  urgent?: boolean;
  children?: ReactNode;
}

/** A few words set apart from the rest of a page or dialog. */
export function Notice({ tone, icon, title, urgent = false, children }: Props) {
  return (
    <div className={classes["notice"]} data-tone={tone} role={urgent ? "alert" : undefined}>
      <span className={classes["icon"]} aria-hidden>
        {icon}
      </span>
      <div className={classes["words"]}>
        {title && <p className={classes["title"]}>{title}</p>}
        {children}
      </div>
    </div>
  );
}
