import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { ChartNoAxesCombined, Gauge, KeyRound, KeySquare, Rocket, ScrollText, Settings, ShieldCheck, Ticket, Users, Waypoints } from "lucide-react";

import { mayManage } from "@/shared/access";
import { sessionQuery, tenantsQuery } from "@/shared/api/queries";
import { navGroup, navLink, SideNav } from "@/shared/ui/SideNav";
import { AccountMenu } from "./AccountMenu";
import { TenantSwitcher } from "./TenantSwitcher";

const pages = [
  { label: "Quick start", to: "/tenants/$tenant/quick-start", icon: Rocket },
  { label: "Overview", to: "/tenants/$tenant", icon: Gauge },
  { label: "Hubs", to: "/tenants/$tenant/hubs", icon: Waypoints },
  { label: "Keys", to: "/tenants/$tenant/keys", icon: KeyRound },
  { label: "Tokens", to: "/tenants/$tenant/tokens", icon: Ticket },
  { label: "Limits", to: "/tenants/$tenant/limits", icon: ShieldCheck },
  { label: "Usage", to: "/tenants/$tenant/usage", icon: ChartNoAxesCombined },
  { label: "Settings", to: "/tenants/$tenant/settings", icon: Settings },
] as const;

const accountPages = [
  { label: "Members", to: "/accounts/$account/members", icon: Users },
  { label: "API tokens", to: "/accounts/$account/tokens", icon: KeySquare },
  { label: "Audit log", to: "/accounts/$account/audit", icon: ScrollText },
] as const;

/** Brand, tenant, pages and account, from top to bottom. `onClose` is given inside a drawer. */
export function Sidebar({ onClose }: { onClose?: (() => void) | undefined }) {
  const { tenant, account: chosen } = useParams({ strict: false });
  const { data: session } = useQuery(sessionQuery());
  const { data: all } = useQuery(tenantsQuery());
  const ofTenant = all?.tenants.find(({ slug, id }) => slug === tenant || id === tenant)?.account_id;
  // The account that the page is about; else that of the tenant, else the only one.
  const account = session?.accounts.find(({ id }) => id === (chosen ?? ofTenant)) ?? session?.accounts[0];
  return (
    <SideNav onClose={onClose} top={<TenantSwitcher current={tenant} />} foot={<AccountMenu />}>
      {tenant &&
        pages.map(({ label, to, icon: Icon }) => (
          <Link
            key={label}
            to={to}
            params={{ tenant }}
            activeOptions={{ exact: true, includeSearch: false }}
            className={navLink}
          >
            <Icon size={18} aria-hidden />
            {label}
          </Link>
        ))}
      {account && (
        <>
          <p className={navGroup}>{account.name}</p>
          {accountPages.filter(({ label }) => label !== "Audit log" || mayManage(account.role)).map(({ label, to, icon: Icon }) => (
            <Link
              key={label}
              to={to}
              params={{ account: account.id }}
              activeOptions={{ exact: true, includeSearch: false }}
              className={navLink}
            >
              <Icon size={18} aria-hidden />
              {label}
            </Link>
          ))}
        </>
      )}
    </SideNav>
  );
}
