import { Menu, UnstyledButton } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { Check, ChevronsUpDown, Plus } from "lucide-react";
import { Fragment } from "react";

import { CreateTenantDialog } from "@/features/tenants/CreateTenantDialog";
import { accountsForTenants } from "@/shared/access";
import { sessionQuery, tenantsQuery } from "@/shared/api/queries";
import classes from "./TenantSwitcher.module.css";

/** Shows the tenant that the pages are about, and changes to another or a new one. */
export function TenantSwitcher({ current }: { current: string | undefined }) {
  const navigate = useNavigate();
  const [creating, dialog] = useDisclosure(false);
  const { data } = useQuery(tenantsQuery());
  const tenants = data?.tenants ?? [];
  const { data: session } = useQuery(sessionQuery());
  const accounts = session?.accounts ?? [];
  // By account, for whoever is in several.
  const groups =
    accounts.length > 1
      ? accounts
          .map(({ id, name }) => ({ label: name, members: tenants.filter(({ account_id }) => account_id === id) }))
          .filter(({ members }) => members.length > 0)
      : [{ label: "Tenants", members: tenants }];
  const tenant = tenants.find(({ slug, id }) => slug === current || id === current);

  return (
    <>
      <Menu width="target" position="bottom-start" shadow="md" withinPortal={false}>
        <Menu.Target>
          <UnstyledButton className={classes["target"]} aria-label={`Tenant: ${tenant?.name ?? "none"}`}>
            <span className={classes["initial"]} aria-hidden>
              {(tenant?.name ?? "?").charAt(0).toUpperCase()}
            </span>
            <span className={classes["words"]}>
              <span className={classes["name"]}>{tenant?.name ?? "Choose a tenant"}</span>
              <span className={classes["slug"]}>{tenant?.slug ?? "No tenant chosen"}</span>
            </span>
            <ChevronsUpDown size={16} aria-hidden className={classes["chevron"]} />
          </UnstyledButton>
        </Menu.Target>
        <Menu.Dropdown>
          {groups.map(({ label, members }) => (
            <Fragment key={label}>
              <Menu.Label>{label}</Menu.Label>
              {members.map(({ id, slug, name }) => (
                <Menu.Item
                  key={id}
                  rightSection={id === tenant?.id ? <Check size={16} aria-label="current" /> : undefined}
                  onClick={() => void navigate({ to: "/tenants/$tenant", params: { tenant: slug } })}
                >
                  <span className={classes["name"]}>{name}</span>
                </Menu.Item>
              ))}
            </Fragment>
          ))}
          {accountsForTenants(accounts).length > 0 && (
            <>
              <Menu.Divider />
              <Menu.Item leftSection={<Plus size={16} aria-hidden />} onClick={dialog.open}>
                New tenant
              </Menu.Item>
            </>
          )}
        </Menu.Dropdown>
      </Menu>
      <CreateTenantDialog
        opened={creating}
        onClose={dialog.close}
        onCreated={(slug) => void navigate({ to: "/tenants/$tenant/quick-start", params: { tenant: slug } })}
      />
    </>
  );
}
