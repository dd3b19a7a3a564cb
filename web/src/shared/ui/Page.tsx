import { Text, Title } from "@mantine/core";
import type { ReactNode } from "react";

import classes from "./Page.module.css";

interface PageProps {
  title: string;
  description?: ReactNode;
  /** Buttons at the right of the title. */
  actions?: ReactNode;
  children: ReactNode;
}

/** A screen of the console: heading, one line about it, content. */
export function Page({ title, description, actions, children }: PageProps) {
  return (
    <div className={classes["page"]}>
      <header className={classes["head"]}>
        <div className={classes["words"]}>
          <Title order={1}>{title}</Title>
          {description && (
            <Text c="dimmed" mt={4} maw="68ch">
              {description}
            </Text>
          )}
        </div>
        {actions && <div className={classes["actions"]}>{actions}</div>}
      </header>
      {children}
    </div>
  );
}

interface PanelProps {
  title?: ReactNode;
  description?: ReactNode;
  aside?: ReactNode;
  /** Let the content touch the panel's edges, for tables. */
  flush?: boolean;
  children: ReactNode;
}

/** A titled surface on a page. */
export function Panel({ title, description, aside, flush = false, children }: PanelProps) {
  return (
    <section className={classes["panel"]} data-flush={flush || undefined}>
      {(title || aside) && (
        <div className={classes["panelHead"]}>
          <div>
            {title && <Title order={2}>{title}</Title>}
            {description && (
              <Text c="dimmed" size="sm" mt={2} maw="68ch">
                {description}
              </Text>
            )}
          </div>
          {aside && <div className={classes["aside"]}>{aside}</div>}
        </div>
      )}
      <div className={classes["panelBody"]}>{children}</div>
    </section>
  );
}
