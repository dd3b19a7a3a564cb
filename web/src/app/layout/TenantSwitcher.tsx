import { Menu, UnstyledButton } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { Check, ChevronsUpDown, Plus } from "lucide-react";

import { CreateTenantDialog } from "@/features/tenants/CreateTenantDialog";
import { tenantsQuery } from "@/shared/api/queries";
import classes from "./TenantSwitcher.module.css";

/** Shows the tenant that the pages are about, and changes to another or a new one. */
export function TenantSwitcher({ current }: { current: string | undefined }) {
  const navigate = useNavigate();
  const [creating, dialog] = useDisclosure(false);
  const { data } = useQuery(tenantsQuery());
  const tenants = data?.tenants ?? [];
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
          <Menu.Label>Tenants</Menu.Label>
          {tenants.map(({ id, slug, name }) => (
            <Menu.Item
              key={id}
              rightSection={id === tenant?.id ? <Check size={16} aria-label="current" /> : undefined}
              onClick={() => void navigate({ to: "/tenants/$tenant", params: { tenant: slug } })}
            >
              <span className={classes["name"]}>{name}</span>
            </Menu.Item>
          ))}
          <Menu.Divider />
          <Menu.Item leftSection={<Plus size={16} aria-hidden />} onClick={dialog.open}>
            New tenant
          </Menu.Item>
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
