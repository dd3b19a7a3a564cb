import { Anchor } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, Outlet } from "@tanstack/react-router";
import { ShieldCheck } from "lucide-react";

import { sessionQuery } from "@/shared/api/queries";
import { ConsoleFrame } from "@/shared/ui/ConsoleFrame";
import { Notice } from "@/shared/ui/Notice";
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

/** What is around every signed-in page. */
export function ConsoleLayout() {
  return (
    <ConsoleFrame Side={Sidebar}>
      <ShutOut />
      <Outlet />
    </ConsoleFrame>
  );
}
