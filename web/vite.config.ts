import { tanstackRouter } from "@tanstack/router-plugin/vite";
import react from "@vitejs/plugin-react";
import { defineConfig, type ViteUserConfig } from "vitest/config";

import { build, resolve } from "./vite.shared.ts";

// The api that `npm run dev` forwards to; `npm run dev:mock` answers from
// test/mock instead.
const api = process.env["SIGNALBOX_API_URL"] ?? "http://127.0.0.1:8080";

export default defineConfig(async ({ mode }): Promise<ViteUserConfig> => ({
  plugins: [
    tanstackRouter({
      target: "react",
      autoCodeSplitting: true,
      routesDirectory: "src/app/routes",
      generatedRouteTree: "src/app/routeTree.gen.ts",
      quoteStyle: "double",
      semicolons: true,
    }),
    react(),
    ...(mode === "mock" ? [(await import("./test/mock/plugin.ts")).mockApi()] : []),
  ],
  resolve,
  build,
  server: { proxy: mode === "mock" ? undefined : { "/v1": api, "/openapi.json": api } },
  test: {
    restoreMocks: true,
    // A document is slow to set up; only tests of pages need one.
    projects: [
      { extends: true, test: { name: "logic", environment: "node", include: ["{src,operator/src}/**/*.test.ts"] } },
      {
        extends: true,
        test: {
          name: "pages",
          environment: "jsdom",
          include: ["{src,operator/src}/**/*.test.tsx"],
          setupFiles: ["test/setup.ts"],
          testTimeout: 30_000,
        },
      },
    ],
  },
}));
