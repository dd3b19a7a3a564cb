import { createFileRoute, useNavigate } from "@tanstack/react-router";
import { z } from "@/shared/zod";

import { ConfirmSignUpPage } from "@/features/auth/ConfirmSignUpPage";

export const Route = createFileRoute("/confirm-sign-up")({
  validateSearch: z.object({ token: z.string().max(128).catch("") }),
  component: function ConfirmSignUpRoute() {
    const navigate = useNavigate();
    return (
      <ConfirmSignUpPage
        token={Route.useSearch().token}
        onSignedUp={(tenant) => void navigate({ to: "/tenants/$tenant/quick-start", params: { tenant } })}
      />
    );
  },
});
