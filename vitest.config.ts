import { defineConfig } from "vitest/config";

/** Tests of adapters share one set of real servers, started once per run (test/support/stack.ts). End-to-end tests start the whole pipeline themselves. */
const onRealServers = { globalSetup: ["test/support/stack.ts"], testTimeout: 60_000, hookTimeout: 60_000 };

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["test/unit/**/*.test.ts"], testTimeout: 10_000 } },
      { test: { name: "static", include: ["test/static/**/*.test.ts"], testTimeout: 60_000 } },
      { test: { name: "infra", include: ["test/infra/**/*.test.ts"], testTimeout: 120_000 } },
      { test: { name: "property", include: ["test/property/**/*.test.ts"], testTimeout: 120_000 } },
      { test: { name: "simulation", include: ["test/simulation/**/*.test.ts"], testTimeout: 300_000 } },
      { test: { name: "integration", include: ["test/integration/**/*.test.ts"], ...onRealServers, testTimeout: 120_000 } },
      { test: { name: "e2e", include: ["test/e2e/**/*.test.ts"], testTimeout: 300_000, fileParallelism: false } },
    ],
  },
});
