import { providerProblem } from "@/shared/lib/credentials";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { Page } from "@/shared/ui/Page";
import { FormAlert } from "@/shared/ui/states";
import { EmailPanel } from "./EmailPanel";
import { IdentitiesPanel } from "./IdentitiesPanel";
import { PasswordPanel } from "./PasswordPanel";
import { SecondFactorPanel } from "./SecondFactorPanel";
import { SessionsPanel } from "./SessionsPanel";

/** How the user proves who they are. `error` is the code of what went wrong at the OpenID provider. */
export function SecurityPage({ error }: { error?: string | undefined }) {
  useDocumentTitle("Security");
  return (
    <Page title="Security" description="How you sign in, and where you are signed in.">
      <FormAlert message={error ? providerProblem(error) : undefined} />
      <SecondFactorPanel />
      <SessionsPanel />
      <PasswordPanel />
      <EmailPanel />
      <IdentitiesPanel />
    </Page>
  );
}
