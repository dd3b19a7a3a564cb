/** The shortest password that the API takes. */
export const minPassword = 10;

/** What is wrong with an address, as far as a page can tell; null when nothing is. */
export function checkEmail(value: string): string | null {
  return /^[^@\s]+@[^@\s]+$/.test(value.trim()) ? null : "Enter an email address, such as ada@example.com.";
}

/** What is wrong with a new password; null when nothing is. */
export function checkNewPassword(value: string): string | null {
  return value.length >= minPassword ? null : `Use at least ${minPassword} characters.`;
}

const providerProblems: Record<string, string> = {
  provider_email_unverified:
    "The provider does not vouch for your email address. Confirm it there, or sign in with your password.",
  link_first:
    "There is a user with your address who has not confirmed it. Sign in with the password, or set a new one, and link the provider under Security.",
  identity_taken: "This identity is linked to another user already.",
  provider_unavailable: "The provider can't be reached right now. Try again, or sign in with your password.",
  rate_limited: "Too many attempts. Wait a moment and try again.",
};

/** What went wrong on the way back from the OpenID provider, by its code. */
export function providerProblem(code: string): string {
  return providerProblems[code] ?? "Signing in with the provider did not work. Begin again.";
}
