import { ActionIcon } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { X } from "lucide-react";
import type { ReactNode } from "react";

import { BrandMark } from "./BrandMark";
import classes from "./SideNav.module.css";

interface Props {
  /** Given inside a drawer. */
  onClose?: (() => void) | undefined;
  /** Between the brand and the pages. */
  top?: ReactNode;
  /** Links of the class `navLink`, below names of the class `navGroup`. */
  children: ReactNode;
  /** At the foot. */
  foot: ReactNode;
}

/** Class of a link to a page. */
export const navLink = classes["link"] ?? "";

/** Class of what is above links that belong together. */
export const navGroup = classes["group"] ?? "";

/** Brand, pages and who is signed in, from top to bottom. */
export function SideNav({ onClose, top, children, foot }: Props) {
  return (
    <div className={classes["sidebar"]}>
      <div className={classes["brand"]}>
        <Link to="/" className={classes["home"]} aria-label="Signalbox, home">
          <BrandMark named />
        </Link>
        {onClose && (
          <ActionIcon variant="subtle" color="gray" aria-label="Close navigation" onClick={onClose}>
            <X size={18} aria-hidden />
          </ActionIcon>
        )}
      </div>
      {top}
      <nav aria-label="Console" className={classes["nav"]}>
        {children}
      </nav>
      {foot}
    </div>
  );
}
