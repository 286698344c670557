import { execFile } from "node:child_process"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"

export interface Start {
  readonly at: number
  readonly task: number
}

/** Runs programs in a Node of their own under fake timers. Gives the starts that each has printed. */
export const startsOf = (
  programs: ReadonlyArray<string>,
  name: string
): Promise<ReadonlyArray<ReadonlyArray<Start>>> => {
  const folder = join(import.meta.dirname, "../../.programs", name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const files = programs.map((text, index) => {
    const file = join(folder, `${index}.ts`)
    writeFileSync(file, text)
    return file
  })
  const main = join(import.meta.dirname, "fakeTimersMain.ts")
  return new Promise((resolve, reject) => {
    execFile(
      "node",
      ["--no-warnings", main, ...files],
      { maxBuffer: 2 ** 26, timeout: 50_000 },
      (error, stdout, stderr) => {
        if (error !== null) return reject(new Error(stderr))
        const logs = JSON.parse(stdout) as Readonly<Record<string, ReadonlyArray<string>>>
        resolve(
          files.map((file) =>
            logs[file]!.flatMap((line) => {
              const [, at, task] = /^(\d+) ms: request (\d+) starts$/.exec(line) ?? []
              return at === undefined ? [] : [{ at: Number(at), task: Number(task) }]
            })
          )
        )
      }
    )
  })
}
