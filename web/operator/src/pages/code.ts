/** A code of an authenticator app without the spaces that apps show. */
export const cleanCode = (code: string): string => code.replace(/\s/g, "");

/** What is wrong with a code, as far as a page can tell; null when nothing is. */
export const checkCode = (code: string): string | null =>
  /^\d{6}$/.test(cleanCode(code)) ? null : "Enter the six digits that your authenticator app shows.";

/** The token of a set-up link, from the part of the address that no server gets; null where there is none. */
export const tokenOf = (hash: string): string | null => new URLSearchParams(hash.replace(/^#/, "")).get("token") || null;
