import { useSuspenseQuery } from "@tanstack/react-query";
import { createFileRoute } from "@tanstack/react-router";

import { TokensPage } from "@/features/tokens/TokensPage";
import { tenantQuery } from "@/shared/api/queries";

export const Route = createFileRoute("/_console/tenants/$tenant/tokens")({
  component: function TokensPageRoute() {
    const { data: tenant } = useSuspenseQuery(tenantQuery(Route.useParams().tenant));
    return <TokensPage tenant={tenant} />;
  },
});
