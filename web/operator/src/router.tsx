import type { QueryClient } from "@tanstack/react-query";
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  Outlet,
  redirect,
  useRouter,
  type RouterHistory,
} from "@tanstack/react-router";
import { z } from "@/shared/zod";

import { toProblem } from "@/shared/api/problem";
import { PagePending } from "@/shared/ui/PagePending";
import { NotFound, RootError, RootNotFound, RouteError } from "@/shared/ui/RouteError";
import { edgesQuery, sessionQuery, tenantQuery, tokensQuery } from "./api/queries";
import { AuditPage } from "./pages/AuditPage";
import { EdgesPage } from "./edges/EdgesPage";
import { OperatorLayout } from "./layout/OperatorLayout";
import { SetUpPage } from "./pages/SetUpPage";
import { SignInPage } from "./pages/SignInPage";
import { TenantPage } from "./tenants/TenantPage";
import { TenantsPage } from "./tenants/TenantsPage";
import { TokensPage } from "./tokens/TokensPage";

const rootRoute = createRootRouteWithContext<{ queryClient: QueryClient }>()({
  component: Outlet,
  errorComponent: RootError,
  notFoundComponent: RootNotFound,
});

const signIn = createRoute({
  getParentRoute: () => rootRoute,
  path: "/sign-in",
  // Only a path of this console: never another origin.
  validateSearch: z.object({ next: z.string().regex(/^\/(?![/\\])/).optional().catch(undefined) }),
  beforeLoad: ({ context }) => {
    if (context.queryClient.getQueryData(sessionQuery().queryKey)) throw redirect({ to: "/" });
  },
  component: function SignInRoute() {
    const router = useRouter();
    const { next } = signIn.useSearch();
    return <SignInPage onSignedIn={() => router.history.push(next ?? "/")} />;
  },
});

const setUp = createRoute({ getParentRoute: () => rootRoute, path: "/set-up", component: SetUpPage });

const signedIn = createRoute({
  getParentRoute: () => rootRoute,
  id: "_signedIn",
  beforeLoad: async ({ context, location }) => {
    try {
      await context.queryClient.ensureQueryData(sessionQuery());
    } catch (error) {
      if (toProblem(error).status !== 401) throw error;
      throw redirect({ to: "/sign-in", search: location.href === "/" ? {} : { next: location.href } });
    }
  },
  component: OperatorLayout,
  errorComponent: RootError,
});

const home = createRoute({
  getParentRoute: () => signedIn,
  path: "/",
  beforeLoad: () => {
    throw redirect({ to: "/tenants" });
  },
});

const tenants = createRoute({
  getParentRoute: () => signedIn,
  path: "/tenants",
  validateSearch: z.object({
    search: z.string().max(254).optional().catch(undefined),
    status: z.enum(["active", "suspended"]).optional().catch(undefined),
  }),
  component: function TenantsRoute() {
    const navigate = tenants.useNavigate();
    return <TenantsPage filter={tenants.useSearch()} onFilter={(search) => void navigate({ search, replace: true })} />;
  },
});

const tenant = createRoute({
  getParentRoute: () => signedIn,
  path: "/tenants/$tenant",
  // By its id alone: a slug may be another tenant's by the time of a click.
  loader: async ({ context, params }) => {
    const { tenant: found } = await context.queryClient.ensureQueryData(tenantQuery(params.tenant));
    if (found.id !== params.tenant) throw redirect({ to: "/tenants/$tenant", params: { tenant: found.id }, replace: true });
  },
  component: function TenantRoute() {
    const params = tenant.useParams();
    return <TenantPage key={params.tenant} tenant={params.tenant} />;
  },
});

const edges = createRoute({
  getParentRoute: () => signedIn,
  path: "/edges",
  loader: ({ context }) => context.queryClient.prefetchQuery(edgesQuery()),
  component: EdgesPage,
});

const audit = createRoute({ getParentRoute: () => signedIn, path: "/audit", component: AuditPage });

const tokens = createRoute({
  getParentRoute: () => signedIn,
  path: "/tokens",
  loader: ({ context }) => context.queryClient.prefetchQuery(tokensQuery()),
  component: TokensPage,
});

const routeTree = rootRoute.addChildren([signIn, setUp, signedIn.addChildren([home, tenants, tenant, edges, audit, tokens])]);

/** The operators' console's router. Tests give a history of their own. */
export function createOperatorRouter(queryClient: QueryClient, history?: RouterHistory) {
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
    router: ReturnType<typeof createOperatorRouter>;
  }
}
