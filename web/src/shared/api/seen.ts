import { queryOptions, useQuery } from "@tanstack/react-query";

/** What somebody is about to change, with the tag that says which state of it they saw. */
export interface Seen<T> {
  value: T;
  /** For If-Match; empty when the server gave none. */
  tag: string;
}

type Read<T> = () => Promise<{ data?: T; response: Response }>;

async function withTag<T>(read: Read<T>): Promise<Seen<T>> {
  const { data, response } = await read();
  if (data === undefined) throw new Error("an answer without content");
  return { value: data, tag: response.headers.get("ETag") ?? "" };
}

/** The query of what is shown and can be changed where it is shown, kept fresh as others are. */
export const seenOptions = <T>(key: readonly unknown[], read: Read<T>) =>
  queryOptions({ queryKey: ["shown", ...key], queryFn: () => withTag(read) });

/**
 * Reads what a form is about to change, once: it stays as it was when the form was
 * opened, whatever others read meanwhile, until `refetch`.
 */
export function useSeen<T>(
  key: readonly unknown[],
  read: Read<T>,
  enabled = true,
) {
  return useQuery({
    queryKey: ["seen", ...key],
    enabled,
    queryFn: () => withTag(read),
    staleTime: Infinity,
    gcTime: 0,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  });
}

/** The header fields of a change that is to happen only to what was seen. */
export const ifSeen = (seen: Seen<unknown> | undefined): Record<string, string> =>
  seen?.tag ? { "If-Match": seen.tag } : {};
