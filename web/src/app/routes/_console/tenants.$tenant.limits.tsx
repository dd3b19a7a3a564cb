import { useSuspenseQuery } from "@tanstack/react-query";
import { createFileRoute } from "@tanstack/react-router";

import { LimitsPage } from "@/features/limits/LimitsPage";
import { tenantQuery } from "@/shared/api/queries";

export const Route = createFileRoute("/_console/tenants/$tenant/limits")({
  component: function LimitsRoute() {
    const { data: tenant } = useSuspenseQuery(tenantQuery(Route.useParams().tenant));
    return <LimitsPage tenant={tenant} />;
  },
});
