import { ActionIcon } from "@mantine/core";
import { Link, useParams } from "@tanstack/react-router";
import { ChartNoAxesCombined, Gauge, KeyRound, Rocket, Ticket, Waypoints, X } from "lucide-react";

import { BrandMark } from "@/shared/ui/BrandMark";
import { AccountMenu } from "./AccountMenu";
import classes from "./Sidebar.module.css";
import { TenantSwitcher } from "./TenantSwitcher";

const pages = [
  { label: "Quick start", to: "/tenants/$tenant/quick-start", icon: Rocket },
  { label: "Overview", to: "/tenants/$tenant", icon: Gauge },
  { label: "Hubs", to: "/tenants/$tenant/hubs", icon: Waypoints },
  { label: "Keys", to: "/tenants/$tenant/keys", icon: KeyRound },
  { label: "Tokens", to: "/tenants/$tenant/tokens", icon: Ticket },
  { label: "Usage", to: "/tenants/$tenant/usage", icon: ChartNoAxesCombined },
] as const;

/** Brand, tenant, pages and account, from top to bottom. `onClose` is given inside a drawer. */
export function Sidebar({ onClose }: { onClose?: () => void }) {
  const { tenant } = useParams({ strict: false });
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
      <TenantSwitcher current={tenant} />
      <nav aria-label="Console" className={classes["nav"]}>
        {tenant &&
          pages.map(({ label, to, icon: Icon }) => (
            <Link
              key={label}
              to={to}
              params={{ tenant }}
              activeOptions={{ exact: true, includeSearch: false }}
              className={classes["link"]}
            >
              <Icon size={18} aria-hidden />
              {label}
            </Link>
          ))}
      </nav>
      <AccountMenu />
    </div>
  );
}
