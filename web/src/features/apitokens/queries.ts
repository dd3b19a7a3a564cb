import { query } from "@/shared/api/client";

/** The caller's own API tokens, of all accounts. */
export const ownTokensQuery = () => query.queryOptions("get", "/v1/api-tokens", {});

/** Everybody's API tokens of an account. */
export const accountTokensQuery = (account: string) =>
  query.queryOptions("get", "/v1/accounts/{account}/api-tokens", { params: { path: { account } } });
