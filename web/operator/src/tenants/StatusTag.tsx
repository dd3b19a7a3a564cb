import { Tag } from "@/shared/ui/Tag";
import type { Tenant } from "../api/queries";

/** Whether a tenant is served, and who decided otherwise. */
export function StatusTag({ tenant }: { tenant: Pick<Tenant, "status" | "suspended_by"> }) {
  if (tenant.status === "active") return <Tag tone="good">Active</Tag>;
  return <Tag tone="warn">{tenant.suspended_by === "operator" ? "Suspended by an operator" : "Suspended by its account"}</Tag>;
}
