import { query } from "./client";
import type { components } from "./schema";

type Schemas = components["schemas"];

export type Edge = Schemas["Edge"];
export type Tenant = Schemas["OperatorTenant"];
export type TenantDetails = Schemas["OperatorTenantDetails"];
export type TenantStatus = Schemas["TenantStatus"];
export type Limit = Schemas["OperatorLimit"];
export type Token = Schemas["OperatorToken"];
export type TokenScope = Schemas["OperatorScope"];
export type LimitOverride = Schemas["OperatorLimitOverride"];

/** Who is signed in. */
export const sessionQuery = () =>
  query.queryOptions("get", "/operator/v1/session", {}, { staleTime: 60_000, retry: false });

/** One tenant with its limits, by slug or id. */
export const tenantQuery = (tenant: string) =>
  query.queryOptions("get", "/operator/v1/tenants/{tenant}", { params: { path: { tenant } } });

/** The edges that live. */
export const edgesQuery = () => query.queryOptions("get", "/operator/v1/edges", {});

/** The operator's own tokens. */
export const tokensQuery = () => query.queryOptions("get", "/operator/v1/tokens", {});
