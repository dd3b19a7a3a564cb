import { useNavigate } from "@tanstack/react-router";

import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { Page, Panel } from "@/shared/ui/Page";
import { CreateTenantForm } from "./CreateTenantDialog";

/** Where an account without a tenant begins. */
export function FirstTenant() {
  useDocumentTitle("New tenant");
  const navigate = useNavigate();
  return (
    <Page
      title="Create a tenant"
      description="A tenant has an endpoint, access keys and hubs of its own. Nothing crosses from one tenant to another."
    >
      <Panel>
        <CreateTenantForm
          onCreated={(tenant) => void navigate({ to: "/tenants/$tenant/quick-start", params: { tenant } })}
        />
      </Panel>
    </Page>
  );
}
