import type { Plugin } from "vite";

/** Answers the console's requests from memory, for looking at pages without a server. */
export function mockApi(): Plugin {
  return { name: "mock-api" };
}
