import { createFileRoute } from "@tanstack/react-router";
import { z } from "@/shared/zod";

import { ResetPasswordPage } from "@/features/auth/ResetPasswordPage";

export const Route = createFileRoute("/reset-password")({
  validateSearch: z.object({ token: z.string().max(128).catch("") }),
  component: function ResetPasswordRoute() {
    return <ResetPasswordPage token={Route.useSearch().token} />;
  },
});
