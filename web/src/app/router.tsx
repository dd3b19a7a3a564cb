import type { QueryClient } from "@tanstack/react-query";
import { createRouter, type RouterHistory } from "@tanstack/react-router";

import { PagePending } from "@/shared/ui/PagePending";
import { NotFound, RouteError } from "@/shared/ui/RouteError";
import { routeTree } from "./routeTree.gen";

/** The console's router; loaders find the query cache in its context. Tests give a history of their own. */
export function createConsoleRouter(queryClient: QueryClient, history?: RouterHistory) {
  return createRouter({
    routeTree,
    ...(history && { history }),
    context: { queryClient },
    defaultPreload: "intent",
    // TanStack Query decides what is fresh.
    defaultPreloadStaleTime: 0,
    // A quick answer shows no skeleton, a shown one does not flash.
    defaultPendingMs: 250,
    defaultPendingMinMs: 300,
    defaultPendingComponent: PagePending,
    scrollRestoration: true,
    defaultErrorComponent: RouteError,
    defaultNotFoundComponent: NotFound,
  });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof createConsoleRouter>;
  }
}
