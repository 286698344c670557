/** Hosts that are programs for a terminal: Node, Bun, Deno. */
import { execFile } from "node:child_process"
import { writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { mark } from "../inside/report.ts"
import type { Report } from "../inside/report.ts"
import type { Host } from "./host.ts"

const modules = join(import.meta.dirname, "../node_modules")

const program = (self: string, command: string, ...args: ReadonlyArray<string>): Host => ({
  name: self,
  self,
  run: async (bundle, signal) => {
    const file = join(dirname(bundle), `${self.replaceAll(" ", "-")}.mjs`)
    writeFileSync(
      file,
      // Kept from ending while it waits for a test that waits for nothing. What it rejects with is caught here, since the
      // run itself listens for uncaught errors.
      `import { run } from "./tests.mjs"
const alive = setInterval(() => {}, 1000)
run(${JSON.stringify(self)})
  .then(
    (report) => console.log(${JSON.stringify(mark)} + JSON.stringify(report)),
    (error) => {
      console.error(error)
      process.exitCode = 1
    }
  )
  .finally(() => clearInterval(alive))
`
    )
    const { stdout } = await promisify(execFile)(join(modules, command), [...args, file], {
      signal,
      // Nothing less ends one that loops.
      killSignal: "SIGKILL",
      maxBuffer: Number.POSITIVE_INFINITY
    })
    const [, report] = stdout.split(mark)
    if (report === undefined) throw new Error(`it ended without a report:\n${stdout}`)
    return JSON.parse(report) as Report
  }
})

export const programs: ReadonlyArray<Host> = [
  // The programs themselves: what is in `.bin` has one name for all of Node, and starts some of them as a child of its
  // own, which would continue after its end.
  program("Node 22", "node-22/bin/node"),
  program("Node 24", "node-24/bin/node"),
  program("Node 26", "node-26/bin/node"),
  program("Bun", "bun/bin/bun.exe"),
  // Vitest's colours ask for the environment; the package itself needs no permission.
  program("Deno", "deno/deno", "run", "--no-prompt", "--allow-env")
]
