import { createFileRoute } from "@tanstack/react-router";

import { ApiTokensPage } from "@/features/apitokens/ApiTokensPage";
import { useAccount } from "@/shared/lib/useAccount";

export const Route = createFileRoute("/_console/accounts/$account/tokens")({
  component: function TokensRoute() {
    const account = useAccount(Route.useParams().account);
    return account && <ApiTokensPage key={account.id} account={account} />;
  },
});
