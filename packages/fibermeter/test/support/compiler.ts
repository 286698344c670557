/** Runs the supported compilers on a program, for tests of their messages. */
import { execFile } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"

const root = join(import.meta.dirname, "../../../..")

export const compilers = ["typescript", "typescript-5.9"] as const

/** The errors in a program that imports sources from two folders above it, as `line:column message`. */
export const errorsOf = async (
  compiler: (typeof compilers)[number],
  testFolder: string,
  program: string
): Promise<ReadonlyArray<string>> => {
  // Inside a package, so that its imports resolve.
  const folder = await mkdtemp(join(testFolder, ".compiler-"))
  try {
    await writeFile(join(folder, "program.ts"), program)
    const compilerOptions = {
      target: "ES2023",
      // As in create-vite's templates: without `AsyncDisposable`.
      lib: ["ES2023", "DOM"],
      types: [],
      module: "NodeNext",
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: true,
      noEmit: true,
      allowImportingTsExtensions: true
    }
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["program.ts"] }))
    const tsc = join(root, "node_modules", compiler, "bin/tsc")
    const output = await new Promise<string>((resolve) => {
      execFile(process.execPath, [tsc, "-p", folder, "--pretty", "false"], { cwd: folder }, (_, stdout) =>
        resolve(stdout)
      )
    })
    // A message continues in indented lines.
    return Array.from(
      output.matchAll(/^program\.ts\((\d+),(\d+)\): error TS\d+: (.*(?:\n .*)*)/gm),
      ([, line, column, text]) => [`${line}:${column}`, text].join(" ")
    )
  } finally {
    await rm(folder, { recursive: true })
  }
}
