import { useSuspenseQuery } from "@tanstack/react-query";
import { createFileRoute } from "@tanstack/react-router";

import { QuickStartPage } from "@/features/quickstart/QuickStartPage";
import { tenantQuery } from "@/shared/api/queries";

export const Route = createFileRoute("/_console/tenants/$tenant/quick-start")({
  component: function QuickStartPageRoute() {
    const { data: tenant } = useSuspenseQuery(tenantQuery(Route.useParams().tenant));
    return <QuickStartPage tenant={tenant} />;
  },
});
