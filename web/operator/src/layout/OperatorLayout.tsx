import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useNavigate } from "@tanstack/react-router";
import { Building2, KeySquare, ScrollText, Server } from "lucide-react";

import { ConsoleFrame } from "@/shared/ui/ConsoleFrame";
import { PersonMenu } from "@/shared/ui/PersonMenu";
import { navGroup, navLink, SideNav } from "@/shared/ui/SideNav";
import { query } from "../api/client";
import { sessionQuery } from "../api/queries";

const pages = [
  { label: "Tenants", to: "/tenants", icon: Building2 },
  { label: "Edges", to: "/edges", icon: Server },
  { label: "Audit log", to: "/audit", icon: ScrollText },
  { label: "Tokens", to: "/tokens", icon: KeySquare },
] as const;

/** What is around every signed-in page. */
export function OperatorLayout() {
  return (
    <ConsoleFrame Side={Sidebar}>
      <Outlet />
    </ConsoleFrame>
  );
}

function Sidebar({ onClose }: { onClose?: (() => void) | undefined }) {
  const navigate = useNavigate();
  const { data: session } = useQuery(sessionQuery());
  const signOut = query.useMutation("delete", "/operator/v1/session", {
    // A new document: nothing of the former operator stays in this one's memory.
    onSuccess: () => navigate({ to: "/sign-in", reloadDocument: true }),
  });
  return (
    <SideNav
      onClose={onClose}
      foot={<PersonMenu email={session?.email ?? ""} signingOut={signOut.isPending} onSignOut={() => signOut.mutate({})} />}
    >
      <p className={navGroup}>Operators</p>
      {pages.map(({ label, to, icon: Icon }) => (
        <Link key={label} to={to} activeOptions={{ includeSearch: false }} className={navLink}>
          <Icon size={18} aria-hidden />
          {label}
        </Link>
      ))}
    </SideNav>
  );
}
