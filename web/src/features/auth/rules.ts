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
