/** Programs that tests start as processes, each as one file, which loads in a fraction of the time. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { rolldown } from "rolldown"

export interface Bundle {
  readonly file: string
  readonly remove: () => void
}

/** Of a program in this folder. */
export const bundle = async (name: string): Promise<Bundle> => {
  const folder = mkdtempSync(join(tmpdir(), "fibermeter-worker-"))
  const file = join(folder, "worker.mjs")
  const program = await rolldown({ input: join(import.meta.dirname, name), platform: "node", onLog: () => {} })
  await program.write({ file, codeSplitting: false })
  await program.close()
  return { file, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
