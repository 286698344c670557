import { defineConfig } from "vitest/config"
import { docExamples } from "./scripts/doc-examples.ts"

/** The one Vitest configuration. `vitest.config.ts` re-exports it, for the command line and for editors. */
export default defineConfig({
  test: {
    allowOnly: false,
    // Ends what hangs, and nothing else: how long a test takes says as much about the machine as about the code.
    testTimeout: 60_000,
    // A test that asserts nothing fails. Documentation may show something that has no value to compare.
    expect: { requireAssertions: true },
    coverage: {
      provider: "v8",
      include: ["packages/*/src/**/*.ts"],
      reporter: ["text", "lcovonly"],
      thresholds: { lines: 100, branches: 100, functions: 100, statements: 100 }
    },
    projects: [
      { extends: true, test: { name: "fibermeter", include: ["packages/fibermeter/test/**/*.test.ts"] } },
      { extends: true, test: { name: "promise", include: ["packages/promise/test/**/*.test.ts"] } },
      { extends: true, test: { name: "redis", include: ["packages/redis/test/**/*.test.ts"] } },
      { extends: true, test: { name: "examples", include: ["examples/**/*.test.ts"] } },
      { extends: true, test: { name: "scripts", include: ["scripts/**/*.test.ts"] } },
      { extends: true, test: { name: "site", include: ["site/test/*.test.ts"] } },
      { extends: true, test: { name: "site in Chromium", include: ["site/test/browser/*.test.ts"] } },
      {
        extends: true,
        plugins: [docExamples(import.meta.dirname)],
        test: {
          name: "docs",
          include: [".doc-examples/**/*.ts"],
          exclude: ["**/*.no-run.ts"],
          expect: { requireAssertions: false }
        }
      },
      {
        extends: true,
        test: {
          name: "types",
          include: [],
          typecheck: {
            enabled: true,
            only: true,
            include: ["packages/*/test/**/*.test-d.ts"],
            tsconfig: "scripts/tsconfig.types.json"
          }
        }
      }
    ]
  }
})
