import { createFileRoute } from "@tanstack/react-router";
import { z } from "@/shared/zod";

import { VerifyEmailPage } from "@/features/auth/VerifyEmailPage";

export const Route = createFileRoute("/verify-email")({
  validateSearch: z.object({ token: z.string().max(128).catch("") }),
  component: function VerifyEmailRoute() {
    return <VerifyEmailPage token={Route.useSearch().token} />;
  },
});
