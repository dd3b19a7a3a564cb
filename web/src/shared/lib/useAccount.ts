import { useSuspenseQuery } from "@tanstack/react-query";

import { sessionQuery } from "../api/queries";
import type { Account } from "../api/types";

/** One of the user's accounts, by its id; undefined when it isn't one any more. */
export function useAccount(id: string): Account | undefined {
  const { data: session } = useSuspenseQuery(sessionQuery());
  return session.accounts.find((account) => account.id === id);
}
