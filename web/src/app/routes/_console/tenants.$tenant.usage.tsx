import { useSuspenseQuery } from "@tanstack/react-query";
import { createFileRoute } from "@tanstack/react-router";
import { z } from "@/shared/zod";

import { ranges } from "@/features/usage/ranges";
import { UsagePage } from "@/features/usage/UsagePage";
import { tenantQuery } from "@/shared/api/queries";

export const Route = createFileRoute("/_console/tenants/$tenant/usage")({
  validateSearch: z.object({ range: z.enum(ranges).optional().catch(undefined) }),
  component: function UsageRoute() {
    const { data: tenant } = useSuspenseQuery(tenantQuery(Route.useParams().tenant));
    const { range = "1h" } = Route.useSearch();
    const navigate = Route.useNavigate();
    return (
      <UsagePage
        tenant={tenant}
        range={range}
        onRange={(next) => void navigate({ search: { range: next }, replace: true, resetScroll: false })}
      />
    );
  },
});
