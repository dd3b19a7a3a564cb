import { useState } from "react";

/** What is looked for in an audit log, as fields of a form have it. */
export interface AuditFields {
  action: string;
  actor: string;
  tenant: string;
  from: string;
  to: string;
}

/** The letters of an action, as the API takes them. */
const actionForm = /^[a-z_]+(\.[a-z_]+)?$/;

/** What is wrong with an action. */
export const actionProblem = (action: string): string | undefined =>
  action !== "" && !actionForm.test(action) ? "Small letters, _ and one dot" : undefined;

/** A field's time as the API takes it; undefined where it is none. */
function timeOf(text: string): string | undefined {
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : new Date(at).toISOString();
}

/** The fields as the API takes them; what can't be asked for is left out. */
export function filterOf({ action, actor, tenant, from, to }: AuditFields) {
  const [begin, end] = [timeOf(from), timeOf(to)];
  return {
    ...(action !== "" && !actionProblem(action) && { action }),
    ...(actor.trim() !== "" && { actor: actor.trim() }),
    ...(tenant.trim() !== "" && { tenant: tenant.trim() }),
    ...(begin && { from: begin }),
    ...(end && { to: end }),
  };
}

const pageSize = 50;

/** A search in an audit log, page by page. */
export function useAuditFilter() {
  const [fields, setFields] = useState<AuditFields>({ action: "", actor: "", tenant: "", from: "", to: "" });
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const filter = filterOf(fields);
  const cursor = cursors.at(-1);
  return {
    fields,
    filter,
    /** The query of the list. */
    page: { limit: pageSize, ...filter, ...(cursor && { cursor }) },
    change: (some: Partial<AuditFields>) => {
      setFields({ ...fields, ...some });
      setCursors([]);
    },
    hasNewer: cursors.length > 0,
    newer: () => setCursors(cursors.slice(0, -1)),
    older: (next: string) => setCursors([...cursors, next]),
  };
}

export type AuditSearch = ReturnType<typeof useAuditFilter>;
