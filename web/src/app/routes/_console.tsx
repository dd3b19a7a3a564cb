import { createFileRoute, redirect } from "@tanstack/react-router";

import { ConsoleLayout } from "../layout/ConsoleLayout";
import { RootError } from "@/shared/ui/RouteError";
import { toProblem } from "@/shared/api/problem";
import { sessionQuery, tenantsQuery } from "@/shared/api/queries";

export const Route = createFileRoute("/_console")({
  beforeLoad: async ({ context, location }) => {
    try {
      await context.queryClient.ensureQueryData(sessionQuery());
    } catch (error) {
      if (toProblem(error).status !== 401) throw error;
      throw redirect({ to: "/sign-in", search: location.href === "/" ? {} : { next: location.href } });
    }
  },
  loader: ({ context }) => context.queryClient.ensureQueryData(tenantsQuery()),
  component: ConsoleLayout,
  errorComponent: RootError,
});
