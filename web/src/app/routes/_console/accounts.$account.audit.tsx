import { createFileRoute } from "@tanstack/react-router";

import { AuditPage } from "@/features/audit/AuditPage";
import { useAccount } from "@/shared/lib/useAccount";

export const Route = createFileRoute("/_console/accounts/$account/audit")({
  component: function AuditRoute() {
    const account = useAccount(Route.useParams().account);
    return account && <AuditPage key={account.id} account={account} />;
  },
});
