import { createFileRoute, redirect } from "@tanstack/react-router";

import { FirstTenant } from "@/features/tenants/FirstTenant";
import { tenantsQuery } from "@/shared/api/queries";
import { lastTenant } from "@/shared/lib/lastTenant";

// The console opens on the tenant that was looked at last.
export const Route = createFileRoute("/_console/")({
  beforeLoad: async ({ context }) => {
    const { tenants } = await context.queryClient.ensureQueryData(tenantsQuery());
    const last = lastTenant();
    const tenant = tenants.find(({ slug }) => slug === last) ?? tenants[0];
    if (tenant) throw redirect({ to: "/tenants/$tenant", params: { tenant: tenant.slug } });
  },
  component: FirstTenant,
});
