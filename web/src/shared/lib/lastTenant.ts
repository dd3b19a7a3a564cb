const key = "signalbox-last-tenant";

/** The slug of the tenant that was looked at last in this browser. */
export function lastTenant(): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    // Storage may be blocked; then there is no last one.
    return null;
  }
}

/** Remembers the tenant for the next visit. */
export function rememberTenant(slug: string): void {
  try {
    localStorage.setItem(key, slug);
  } catch {
    // As above: forgetting does no harm.
  }
}
