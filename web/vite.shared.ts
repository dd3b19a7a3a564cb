import { fileURLToPath } from "node:url";

// What the builds of both consoles have in common.

export const resolve = { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } };

export const build = {
  target: "es2022",
  // The consoles' CSP has no data: sources for fonts or scripts.
  assetsInlineLimit: 0,
  // Inline preload scripts would break script-src 'self'.
  modulePreload: { polyfill: false },
};
