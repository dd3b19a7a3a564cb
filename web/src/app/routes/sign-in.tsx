import { createFileRoute, redirect, useRouter } from "@tanstack/react-router";
import { z } from "@/shared/zod";

import { SignInPage } from "@/features/auth/SignInPage";
import { sessionQuery } from "@/shared/api/queries";

// Only a path of this console: never another origin.
const search = z.object({
  next: z.string().regex(/^\/(?![/\\])/).optional().catch(undefined),
  // The OpenID provider did the first step.
  step: z.literal("code").optional().catch(undefined),
  // What went wrong at the OpenID provider.
  error: z.string().max(64).optional().catch(undefined),
});

export const Route = createFileRoute("/sign-in")({
  validateSearch: search,
  beforeLoad: ({ context }) => {
    if (context.queryClient.getQueryData(sessionQuery().queryKey)) throw redirect({ to: "/" });
  },
  component: function SignInRoute() {
    const router = useRouter();
    const { next, step, error } = Route.useSearch();
    return (
      <SignInPage
        onSignedIn={() => router.history.push(next ?? "/")}
        next={next}
        secondStep={step === "code"}
        error={error}
      />
    );
  },
});
