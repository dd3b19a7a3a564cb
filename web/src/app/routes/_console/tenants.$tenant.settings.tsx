import { useSuspenseQuery } from "@tanstack/react-query";
import { createFileRoute } from "@tanstack/react-router";

import { SettingsPage } from "@/features/settings/SettingsPage";
import { tenantQuery } from "@/shared/api/queries";

export const Route = createFileRoute("/_console/tenants/$tenant/settings")({
  component: function SettingsPageRoute() {
    const { data: tenant } = useSuspenseQuery(tenantQuery(Route.useParams().tenant));
    const navigate = Route.useNavigate();
    return <SettingsPage tenant={tenant} onDeleted={() => void navigate({ to: "/" })} />;
  },
});
