import { createFileRoute, redirect, useNavigate } from "@tanstack/react-router";

import { SignUpPage } from "@/features/auth/SignUpPage";
import { sessionQuery } from "@/shared/api/queries";

export const Route = createFileRoute("/sign-up")({
  beforeLoad: ({ context }) => {
    if (context.queryClient.getQueryData(sessionQuery().queryKey)) throw redirect({ to: "/" });
  },
  component: function SignUpRoute() {
    const navigate = useNavigate();
    return (
      <SignUpPage
        onSignedUp={(tenant) => void navigate({ to: "/tenants/$tenant/quick-start", params: { tenant } })}
      />
    );
  },
});
