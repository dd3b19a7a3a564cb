import type { QueryClient } from "@tanstack/react-query";

import type { AccessKeySecret } from "../api/types";

// The secret of a new tenant's key comes once, with the tenant. It stays in
// memory until the page that shows it has been dismissed or reloaded.
const keyOf = (tenant: string) => ["fresh-key", tenant] as const;

/** Query options of the key that came with a tenant made in this page, if any. */
export const freshKeyQuery = (tenant: string) => ({
  queryKey: keyOf(tenant),
  queryFn: (): AccessKeySecret | null => null,
  staleTime: Number.POSITIVE_INFINITY,
  gcTime: Number.POSITIVE_INFINITY,
});

/** Keeps the key that came with a new tenant; null forgets it. */
export function setFreshKey(queryClient: QueryClient, tenant: string, key: AccessKeySecret | null): void {
  queryClient.setQueryData(keyOf(tenant), key);
}
