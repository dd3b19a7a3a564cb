import { useQuery, useQueryClient } from "@tanstack/react-query";

import { api } from "@/shared/api/client";
import type { Tenant } from "@/shared/api/types";
import type { SnippetValues } from "./snippets";

const lifetimeSeconds = 3600;
// Tokens on the page always have at least this long to live.
const renewAfterMs = (lifetimeSeconds - 600) * 1000;

/** What the page shows: the snippets' values and when the earlier token ends. */
export interface Tokens extends SnippetValues {
  expiresAt: string;
}

/** Tokens for a hub of the tenant, renewed while the page is open. */
export function useTokens(tenant: Tenant, hub: string) {
  const queryClient = useQueryClient();
  const queryKey = ["quick-start-tokens", tenant.slug, hub] as const;
  const tokens = useQuery({
    queryKey,
    queryFn: () => fetchTokens(tenant.slug, hub),
    staleTime: renewAfterMs,
    refetchInterval: renewAfterMs,
    refetchIntervalInBackground: true,
  });
  return {
    ...tokens,
    /** Replaces the tokens now. */
    renew: () => void queryClient.resetQueries({ queryKey }),
  };
}

async function fetchTokens(tenant: string, hub: string): Promise<Tokens> {
  const params = { path: { tenant } };
  const [client, rest] = await Promise.all([
    api.POST("/v1/tenants/{tenant}/client-tokens", {
      params,
      body: { hub, expires_in_seconds: lifetimeSeconds },
    }),
    api.POST("/v1/tenants/{tenant}/rest-tokens", { params, body: { expires_in_seconds: lifetimeSeconds } }),
  ]);
  if (!client.data || !rest.data) throw new Error("a token answer without a body");
  return {
    clientUrl: client.data.url,
    clientToken: client.data.token,
    restUrl: `${rest.data.url.replace(/\/$/, "")}/api/v1/hubs/${encodeURIComponent(hub)}`,
    restToken: rest.data.token,
    // RFC 3339 in UTC: the earlier one sorts first.
    expiresAt: [client.data.expires_at, rest.data.expires_at].toSorted()[0] ?? client.data.expires_at,
  };
}
