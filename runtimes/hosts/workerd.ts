/**
 * Cloudflare's workerd, by Miniflare: the tests run inside of one request. Once bare, as a Worker is by itself, and once
 * with `nodejs_compat`, which adds timers, clocks and the async context of Node.
 */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { Miniflare, supportedCompatibilityDate } from "miniflare"
import type { Report } from "../inside/report.ts"
import type { Host } from "./host.ts"

export const version = (): string => {
  const manifest = createRequire(import.meta.url).resolve("miniflare/package.json")
  const { dependencies } = JSON.parse(readFileSync(manifest, "utf8")) as {
    readonly dependencies: { readonly workerd: string }
  }
  return dependencies.workerd
}

const worker = (name: string, flags: Array<string>): Host => ({
  name,
  self: "workerd",
  version,
  run: async (bundle, signal) => {
    const contents = `import { run } from "./tests.mjs"
export default { fetch: async () => Response.json(await run(${JSON.stringify(name)})) }`
    const miniflare = new Miniflare({
      modules: [
        { type: "ESModule", path: "worker.mjs", contents },
        { type: "ESModule", path: "tests.mjs", contents: readFileSync(bundle, "utf8") }
      ],
      compatibilityDate: supportedCompatibilityDate,
      compatibilityFlags: flags,
      // It would be fetched.
      cf: false
    })
    try {
      const response = await Promise.race([
        miniflare.dispatchFetch("http://localhost/"),
        new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)))
      ])
      const text = await response.text()
      if (!response.ok) throw new Error(text)
      return JSON.parse(text) as Report
    } finally {
      await miniflare.dispose()
    }
  }
})

export const workers: ReadonlyArray<Host> = [
  worker("workerd", []),
  worker("workerd with nodejs_compat", ["nodejs_compat"])
]
