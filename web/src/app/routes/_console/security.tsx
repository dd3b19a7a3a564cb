import { createFileRoute } from "@tanstack/react-router";
import { z } from "@/shared/zod";

import { SecurityPage } from "@/features/security/SecurityPage";

export const Route = createFileRoute("/_console/security")({
  validateSearch: z.object({ error: z.string().max(64).optional().catch(undefined) }),
  component: function SecurityRoute() {
    return <SecurityPage error={Route.useSearch().error} />;
  },
});
