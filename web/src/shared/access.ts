import type { Account, Role } from "./api/types";

// What roles may do, as far as pages have to know to hide what the API would
// refuse. docs/roles.md has the whole table.

/** Every role, the mightiest first, with what it is for. */
export const roles: readonly { value: Role; label: string; meaning: string }[] = [
  { value: "owner", label: "Owner", meaning: "Everything, other owners too." },
  { value: "admin", label: "Admin", meaning: "Tenants, members and tokens, but no owners." },
  { value: "developer", label: "Developer", meaning: "Keys, hubs and tokens of tenants." },
  { value: "billing", label: "Billing", meaning: "Sees tenants, usage and money." },
  { value: "viewer", label: "Viewer", meaning: "Sees tenants and usage." },
];

export const roleLabel = (role: Role): string => roles.find(({ value }) => value === role)?.label ?? role;

/** May invite and remove members, and see everybody's API tokens. */
export const mayManage = (role: Role | undefined): boolean => role === "owner" || role === "admin";

/** May change a tenant's limits. */
export const mayChangeLimits = mayManage;

/** May make API tokens. */
export const mayCreateToken = (role: Role | undefined): boolean => mayManage(role) || role === "developer";

/** The roles that somebody with a role may give. */
export const mayGive = (role: Role | undefined) => roles.filter(({ value }) => role === "owner" || value !== "owner");

/** The accounts in which tenants may be made. */
export const accountsForTenants = (accounts: readonly Account[]) =>
  accounts.filter(({ role, needs_second_factor }) => mayManage(role) && !needs_second_factor);
