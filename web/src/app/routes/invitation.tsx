import { createFileRoute, useNavigate } from "@tanstack/react-router";
import { z } from "@/shared/zod";

import { InvitationPage } from "@/features/auth/InvitationPage";

export const Route = createFileRoute("/invitation")({
  validateSearch: z.object({ token: z.string().max(128).catch("") }),
  component: function InvitationRoute() {
    const navigate = useNavigate();
    return <InvitationPage token={Route.useSearch().token} onJoined={() => void navigate({ to: "/" })} />;
  },
});
