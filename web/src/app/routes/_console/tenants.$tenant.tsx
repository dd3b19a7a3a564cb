import { useSuspenseQuery } from "@tanstack/react-query";
import { createFileRoute, Outlet } from "@tanstack/react-router";
import { useEffect } from "react";

import { tenantQuery } from "@/shared/api/queries";
import { rememberTenant } from "@/shared/lib/lastTenant";
import { LiveProvider } from "@/shared/live/LiveProvider";

export const Route = createFileRoute("/_console/tenants/$tenant")({
  loader: ({ context, params }) => context.queryClient.ensureQueryData(tenantQuery(params.tenant)),
  component: TenantScope,
});

function TenantScope() {
  const params = Route.useParams();
  const { data: tenant } = useSuspenseQuery(tenantQuery(params.tenant));
  useEffect(() => rememberTenant(tenant.slug), [tenant.slug]);
  return (
    <LiveProvider key={tenant.id} tenant={tenant}>
      <Outlet />
    </LiveProvider>
  );
}
