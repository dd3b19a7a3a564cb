import { fileURLToPath } from "node:url";

import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

import { build, resolve } from "./vite.shared.ts";

// The operators' listener that `npm run dev:operator` forwards to.
const api = process.env["SIGNALBOX_OPERATOR_URL"] ?? "http://127.0.0.1:20025";

// The operators' console: built apart, since it is served by their listener alone.
export default defineConfig({
  root: fileURLToPath(new URL("./operator", import.meta.url)),
  publicDir: fileURLToPath(new URL("./public", import.meta.url)),
  plugins: [react()],
  resolve,
  // One file: whoever opens it has it the next time, and few do.
  build: { ...build, outDir: fileURLToPath(new URL("./dist-operator", import.meta.url)), emptyOutDir: true, chunkSizeWarningLimit: 1000 },
  server: { port: 5174, proxy: { "/operator": api } },
});
