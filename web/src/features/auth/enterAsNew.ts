import type { QueryClient } from "@tanstack/react-query";

import { sessionQuery, tenantQuery } from "@/shared/api/queries";
import type { components } from "@/shared/api/schema";
import { setFreshKey } from "@/shared/lib/freshKeys";

/** Takes what a sign-up made into the cache, and returns the slug of its tenant. */
export function enterAsNew(
  queryClient: QueryClient,
  { user, account, tenant, key }: components["schemas"]["SignUpResult"],
): string {
  queryClient.setQueryData(sessionQuery().queryKey, { user, accounts: [account] });
  queryClient.setQueryData(tenantQuery(tenant.slug).queryKey, tenant);
  setFreshKey(queryClient, tenant.slug, key);
  return tenant.slug;
}
