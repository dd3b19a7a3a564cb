import { MutationCache, QueryCache, QueryClient, type QueryKey } from "@tanstack/react-query";

import { toProblem } from "./problem";

/**
 * The cache of what the server said. `onSignedOut` runs when any request finds the session gone, but for the one
 * of the key `session`, which asks who is signed in.
 */
export function createQueryClient(session: QueryKey, onSignedOut: () => void): QueryClient {
  const sessionKey = JSON.stringify(session);
  const onError = (error: unknown, key?: string) => {
    // Asking who is signed in may well be answered by "nobody".
    if (toProblem(error).status === 401 && key !== sessionKey) onSignedOut();
  };
  return new QueryClient({
    queryCache: new QueryCache({ onError: (error, { queryKey }) => onError(error, JSON.stringify(queryKey)) }),
    mutationCache: new MutationCache({
      // A refused sign-in is the form's affair.
      onError: (error, _variables, _result, { meta }) => {
        if (!meta?.["keepsSession"]) onError(error);
      },
    }),
    defaultOptions: {
      queries: {
        staleTime: 10_000,
        retry: (failures, error) => {
          const { status } = toProblem(error);
          return failures < 2 && (status === 0 || status >= 500);
        },
      },
    },
  });
}
