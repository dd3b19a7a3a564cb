import { createFileRoute, useNavigate } from "@tanstack/react-router";

import { MembersPage } from "@/features/members/MembersPage";
import { useAccount } from "@/shared/lib/useAccount";

export const Route = createFileRoute("/_console/accounts/$account/members")({
  component: function MembersRoute() {
    const navigate = useNavigate();
    const account = useAccount(Route.useParams().account);
    return account && <MembersPage key={account.id} account={account} onLeft={() => void navigate({ to: "/" })} />;
  },
});
