import type { QueryClient } from "@tanstack/react-query";
import { createMemoryHistory, RouterProvider } from "@tanstack/react-router";
import { render } from "@testing-library/react";
import { setupServer } from "msw/node";

import { createConsoleRouter } from "@/app/router";
import { createQueryClient } from "@/shared/api/queryClient";
import { sessionQuery } from "@/shared/api/queries";
import { Providers } from "@/shared/ui/Providers";
import { hub } from "./mock/data";
import { credentials, handlers, type MockState } from "./mock/handlers";

/** An API in memory for the tests of one file, and the console in front of it. */
export function mockServer() {
  const state: MockState = { signedIn: true, quiet: false, hubs: [hub], ...credentials() };
  const server = setupServer(...handlers(state));
  return { state, server };
}

/** Renders the whole console at a path. */
export function renderConsole(path: string): { queryClient: QueryClient } {
  const queryClient = createQueryClient(sessionQuery().queryKey, () => {
    queryClient.clear();
    void router.invalidate();
  });
  const router = createConsoleRouter(queryClient, createMemoryHistory({ initialEntries: [path] }));
  render(
    <Providers queryClient={queryClient}>
      <RouterProvider router={router} />
    </Providers>,
  );
  return { queryClient };
}
