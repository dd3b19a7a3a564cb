import { useSuspenseQuery } from "@tanstack/react-query";
import { createFileRoute, notFound, Outlet } from "@tanstack/react-router";
import { useEffect } from "react";

import { NotFound } from "@/shared/ui/RouteError";
import { toProblem } from "@/shared/api/problem";
import { tenantQuery } from "@/shared/api/queries";
import { rememberTenant } from "@/shared/lib/lastTenant";
import { LiveProvider } from "@/shared/live/LiveProvider";

export const Route = createFileRoute("/_console/tenants/$tenant")({
  loader: async ({ context, params }) => {
    try {
      await context.queryClient.ensureQueryData(tenantQuery(params.tenant));
    } catch (error) {
      // There is none, or none that this user may see: the API does not tell.
      if (toProblem(error).status === 404) throw notFound();
      throw error;
    }
  },
  component: TenantScope,
  // Inside the console's frame, so that another tenant can be chosen.
  notFoundComponent: NotFound,
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
