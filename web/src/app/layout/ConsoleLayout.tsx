import { ActionIcon, Anchor, Drawer } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useRouterState } from "@tanstack/react-router";
import { Menu, ShieldCheck } from "lucide-react";
import { useEffect } from "react";

import { sessionQuery } from "@/shared/api/queries";
import { BrandMark } from "@/shared/ui/BrandMark";
import { Notice } from "@/shared/ui/Notice";
import classes from "./ConsoleLayout.module.css";
import { Sidebar } from "./Sidebar";

/** Tells whoever is shut out of an account what to do. */
function ShutOut() {
  const { data: session } = useQuery(sessionQuery());
  const names = session?.accounts.filter((account) => account.needs_second_factor).map(({ name }) => name) ?? [];
  if (names.length === 0) return null;
  return (
    <Notice tone="warn" icon={<ShieldCheck size={18} />} title={`${names.join(", ")} requires a second factor`}>
      Set one up under{" "}
      <Anchor component={Link} to="/security" underline="always">
        Security
      </Anchor>{" "}
      to see it again.
    </Notice>
  );
}

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
        <ShutOut />
        <Outlet />
      </main>
    </div>
  );
}
