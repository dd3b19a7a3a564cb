import { ActionIcon, Drawer } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { Link, Outlet, useRouterState } from "@tanstack/react-router";
import { Menu } from "lucide-react";
import { useEffect } from "react";

import { BrandMark } from "@/shared/ui/BrandMark";
import classes from "./ConsoleLayout.module.css";
import { Sidebar } from "./Sidebar";

/** The frame of every signed-in page: navigation at the side, in a drawer where it is narrow. */
export function ConsoleLayout() {
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
        <Sidebar />
      </aside>
      <Drawer.Root
        opened={opened}
        onClose={close}
        size={288}
        styles={{ content: { background: "var(--sb-surface)" } }}
      >
        <Drawer.Overlay />
        <Drawer.Content aria-label="Navigation">
          <Sidebar onClose={close} />
        </Drawer.Content>
      </Drawer.Root>
      <main id="content" className={classes["content"]} tabIndex={-1}>
        <Outlet />
      </main>
    </div>
  );
}
