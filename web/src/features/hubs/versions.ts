import type { HubSettings } from "@/shared/api/types";

/** One setting that differs between two versions; undefined = there are no settings. */
export interface Difference {
  setting: string;
  from: string | undefined;
  to: string | undefined;
}

/** What differs between two versions of a hub's settings, in a steady order. */
export function differences(from: HubSettings | undefined, to: HubSettings | undefined): Difference[] {
  const before = flat(from);
  const after = flat(to);
  return [...new Set([...before.keys(), ...after.keys()])]
    .toSorted((a, b) => a.localeCompare(b))
    .filter((setting) => before.get(setting) !== after.get(setting))
    .map((setting) => ({ setting, from: before.get(setting), to: after.get(setting) }));
}

/** Settings by dotted path, as text. Lists are one value. */
function flat(value: unknown, path = ""): Map<string, string> {
  if (value === undefined || value === null) return new Map();
  if (typeof value !== "object" || Array.isArray(value)) return new Map([[path, text(value)]]);
  return new Map(
    Object.entries(value).flatMap(([name, inner]) => [...flat(inner, path === "" ? name : `${path}.${name}`)]),
  );
}

function text(value: unknown): string {
  if (!Array.isArray(value)) return String(value);
  if (value.length === 0) return "none";
  return value.map((item) => (typeof item === "object" ? JSON.stringify(item) : String(item))).join(", ");
}
