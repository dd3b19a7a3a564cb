import { api, query } from "./client";
import { seenOptions } from "./seen";
import type { UsageDimension, UsageStep } from "./types";

// What more than one feature reads. Each is a set of query options, for hooks,
// loaders and invalidation alike.

/** Who is signed in. */
export const sessionQuery = () =>
  query.queryOptions("get", "/v1/session", {}, { staleTime: 60_000, retry: false });

/** How people can sign in here. */
export const signInOptionsQuery = () =>
  query.queryOptions("get", "/v1/sign-in-options", {}, { staleTime: 3_600_000, retry: false });

/** One account. */
export const accountQuery = (account: string) =>
  query.queryOptions("get", "/v1/accounts/{account}", { params: { path: { account } } });

/** The members of an account. */
export const membersQuery = (account: string) =>
  query.queryOptions("get", "/v1/accounts/{account}/members", { params: { path: { account } } });

/** The invitations of an account that were not accepted yet. */
export const invitationsQuery = (account: string) =>
  query.queryOptions("get", "/v1/accounts/{account}/invitations", { params: { path: { account } } });

/** The tenants of the caller's accounts. */
export const tenantsQuery = () => query.queryOptions("get", "/v1/tenants", {}, { staleTime: 30_000 });

/** One tenant, by slug or id. */
export const tenantQuery = (tenant: string) =>
  query.queryOptions("get", "/v1/tenants/{tenant}", { params: { path: { tenant } } }, { staleTime: 30_000 });

/** The hubs of a tenant that have settings. */
export const hubsQuery = (tenant: string) =>
  query.queryOptions("get", "/v1/tenants/{tenant}/hubs", { params: { path: { tenant } } });

/** The limits in force for a tenant. */
export const limitsQuery = (tenant: string) =>
  query.queryOptions("get", "/v1/tenants/{tenant}/limits", { params: { path: { tenant } } });

/** What has connected and been published. Kept fresh by the live connection. */
export const activityQuery = (tenant: string) =>
  query.queryOptions("get", "/v1/tenants/{tenant}/activity", { params: { path: { tenant } } });

/** The usage of a tenant in the API's default span of a step. */
export const usageQuery = (tenant: string, step: "minute" | "hour" | "day") =>
  query.queryOptions("get", "/v1/tenants/{tenant}/usage", {
    params: { path: { tenant }, query: { step } },
  });

/** What a tenant's messages were for. */
export const usageTopQuery = (tenant: string, by: UsageDimension, step: UsageStep) =>
  query.queryOptions("get", "/v1/tenants/{tenant}/usage/top", { params: { path: { tenant }, query: { by, step } } });

/** The corrections of a tenant's usage in the last 30 days. */
export const correctionsQuery = (tenant: string) =>
  query.queryOptions("get", "/v1/tenants/{tenant}/ledger", { params: { path: { tenant }, query: { kind: "correction" } } });

/** An account's budget and how much of it is used. */
export const budgetQuery = (account: string) =>
  seenOptions(["budget", account], () => api.GET("/v1/accounts/{account}/budget", { params: { path: { account } } }));

/** The plan that an account has. */
export const planQuery = (account: string) =>
  seenOptions(["plan", account], () => api.GET("/v1/accounts/{account}/plan", { params: { path: { account } } }));

/** The plans on offer. */
export const plansQuery = () => query.queryOptions("get", "/v1/plans", {}, { staleTime: 3_600_000 });
