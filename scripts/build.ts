/** Compiles both packages from nothing: what is left of an earlier build would be published along. */
import { spawnSync } from "node:child_process"
import { rmSync } from "node:fs"
import { join } from "node:path"

const root = join(import.meta.dirname, "..")
for (const name of ["fibermeter", "promise"]) {
  rmSync(join(root, "packages", name, "dist"), { recursive: true, force: true })
}
const { status } = spawnSync("tsc", ["-b", "packages/promise/tsconfig.build.json"], { cwd: root, stdio: "inherit" })
process.exitCode = status ?? 1
