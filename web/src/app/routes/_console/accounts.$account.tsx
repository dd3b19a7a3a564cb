import { createFileRoute, notFound, Outlet } from "@tanstack/react-router";

import { NotFound } from "@/shared/ui/RouteError";
import { sessionQuery } from "@/shared/api/queries";

export const Route = createFileRoute("/_console/accounts/$account")({
  loader: async ({ context, params }) => {
    const { accounts } = await context.queryClient.ensureQueryData(sessionQuery());
    if (!accounts.some(({ id }) => id === params.account)) throw notFound();
  },
  component: Outlet,
  notFoundComponent: NotFound,
});
