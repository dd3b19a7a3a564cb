import { ActionIcon, Drawer } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { Link, useRouterState } from "@tanstack/react-router";
import { Menu } from "lucide-react";
import { useEffect, type ComponentType, type ReactNode } from "react";

import { BrandMark } from "./BrandMark";
import classes from "./ConsoleFrame.module.css";

interface Props {
  /** The navigation; `onClose` is given inside a drawer. */
  Side: ComponentType<{ onClose?: (() => void) | undefined }>;
  children: ReactNode;
}

/** The frame of every signed-in page: navigation at the side, in a drawer where it is narrow. */
export function ConsoleFrame({ Side, children }: Props) {
  const [opened, drawer] = useDisclosure(false);
  const pathname = useRouterState({ select: (state) => state.location.pathname });
  const { close } = drawer;
  useEffect(() => close(), [pathname, close]);

  return (
    <div className={classes["frame"]}>
      <a href="#content" className={classes["skip"]}>
        Skip to content
      </a>
      <nav className={classes["topbar"]} aria-label="Top bar">
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label="Open navigation" onClick={drawer.open}>
          <Menu size={20} aria-hidden />
        </ActionIcon>
        <Link to="/" className={classes["home"]} aria-label="Signalbox, home">
          <BrandMark named size={26} />
        </Link>
      </nav>
      <aside className={classes["side"]}>
        <Side />
      </aside>
      <Drawer.Root
        opened={opened}
        onClose={close}
        size={288}
        styles={{ content: { background: "var(--sb-surface)" } }}
      >
        <Drawer.Overlay />
        <Drawer.Content aria-label="Navigation">
          <Side onClose={close} />
        </Drawer.Content>
      </Drawer.Root>
      <main id="content" className={classes["content"]} tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}
