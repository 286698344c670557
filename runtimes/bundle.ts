/**
 * All test files, the facade they test and Vitest's runner as one module, which exports `run(name): Promise<Report>` and
 * imports nothing: every host loads the same file. The facade is the published file, so tests that import
 * the engine are not included, nor tests that start programs or compilers.
 */
import { globSync } from "node:fs"
import { join } from "node:path"
import { rolldown } from "rolldown"
import type { Plugin } from "rolldown"
import { looksInside, needsNode, onEveryHost, onPublished } from "../scripts/published.ts"

const packageFolder = join(import.meta.dirname, "../packages/promise")
export const testFolder = join(packageFolder, "test")
const platform = join(import.meta.dirname, "inside/platform.ts")

/** What a test file takes from its host, and what it is given instead. */
const globals = ["process", "setImmediate", "setTimeout", "performanceOrigin"]

/** What reaches for the host in ways that no import can stand in for. */
const replacements: ReadonlyArray<readonly [string, string]> = [
  ["globalThis.setImmediate", "setImmediate"],
  ["Math.ceil(realPerformance.now())", "Math.ceil(realPerformance.now() - performanceOrigin)"]
]

/**
 * In `support.ts` each has to be there just once: a replacement that misses would leave a host with a clock that is not
 * what it seems.
 */
const replaceAll = (code: string, isSupport: boolean): string => {
  let result = code
  for (const [from, to] of replacements) {
    const parts = result.split(from)
    if (isSupport && parts.length !== 2) throw new Error(`support.ts has ${parts.length - 1} times: ${from}`)
    result = parts.join(to)
  }
  return result
}

const forTests: Plugin = {
  name: "the host, for tests",
  resolveId: (id) => (onEveryHost.includes(id) ? platform : undefined),
  transform: (code, id) => {
    if (!id.startsWith(testFolder)) return undefined
    // In the first line, so that the others keep their numbers.
    const imports = `import { ${globals.join(", ")} } from ${JSON.stringify(platform)};`
    return { code: imports + replaceAll(code, id === join(testFolder, "support.ts")), map: null }
  }
}

const entryId = "\0entry.ts"

const entry = (files: ReadonlyArray<string>): string => `
// Evaluated with the program, as an import of it would be. All the rest is evaluated when it runs.
import ${JSON.stringify(join(packageFolder, "dist/index.js"))}
import { run as runFiles } from ${JSON.stringify(join(import.meta.dirname, "inside/run.ts"))}

const files = {
  ${files.map((file) => `${JSON.stringify(file)}: () => import(${JSON.stringify(join(testFolder, file))})`).join(",\n  ")}
}
export const run = (name) => runFiles(name, files)
`

/** The test files that are for `npm test` alone. */
export const notHere: ReadonlyArray<string> = Array.from(new Set([...looksInside("promise"), ...needsNode()]))

/** Writes the module. `scripts/build.ts` has to have run. */
export const bundle = async (file: string): Promise<void> => {
  const files = globSync("**/*.test.ts", { cwd: testFolder })
    .filter((file) => !notHere.includes(file))
    .toSorted()
  const build = await rolldown({
    input: "entry",
    platform: "neutral",
    resolve: { mainFields: ["module", "main"] },
    // An import that is not in the bundle is an error: the host must not resolve it.
    onLog: (level, log) => {
      if (level === "warn") throw new Error(log.message)
    },
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === "entry" ? entryId : undefined),
        load: (id) => (id === entryId ? entry(files) : undefined)
      },
      onPublished({ fibermeter: join(packageFolder, "../fibermeter"), promise: packageFolder }),
      forTests
    ],
    transform: {
      // The oldest of the hosts, Node 22, has no `await using`.
      target: "es2023",
      define: { "process.env.NODE_ENV": JSON.stringify("production") }
    }
  })
  await build.write({ file, format: "es", codeSplitting: false })
  await build.close()
}
