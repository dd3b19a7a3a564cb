import type { Tenant } from "@/shared/api/types";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { Page } from "@/shared/ui/Page";
import { CheckPanel } from "./CheckPanel";
import { IssuersPanel } from "./IssuersPanel";
import { MintPanel } from "./MintPanel";
import { RevocationsPanel } from "./RevocationsPanel";

/** What clients connect with: made here, tried, issued elsewhere, taken back. */
export function TokensPage({ tenant }: { tenant: Tenant }) {
  useDocumentTitle("Tokens", tenant.name);
  return (
    <Page
      title="Tokens"
      description="Clients connect with a token that an access key has signed, or an identity provider of yours. It says who they are and what they may do without a backend."
    >
      <MintPanel tenant={tenant} />
      <CheckPanel tenant={tenant} />
      <IssuersPanel tenant={tenant} />
      <RevocationsPanel tenant={tenant} />
    </Page>
  );
}
