import { defineConfig } from "vitest/config";

export default defineConfig({
  // Relative addresses, so that the same build works under any STATIC_URL.
  base: "./",
  build: {
    outDir: "dist",
    manifest: "manifest.json",
    sourcemap: true,
    target: "es2022",
    assetsInlineLimit: 0,
    rollupOptions: {
      input: ["src/entries/site.ts", "src/entries/workspace.ts"],
    },
  },
  test: {
    environment: "node",
    include: ["src/**/*.test.ts"],
  },
});
