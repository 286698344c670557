/** What the compiler says about calls, by its own messages: where an error stands, and what it names. */
import { execFile } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { expect, it } from "vitest"

const root = join(import.meta.dirname, "../../..")

const compilers = ["typescript", "typescript-5.9"] as const

/** The errors in a program that imports this package, as `line:column message`. */
const errorsOf = async (compiler: (typeof compilers)[number], program: string): Promise<ReadonlyArray<string>> => {
  // Inside the package, so that its imports resolve.
  const folder = await mkdtemp(join(import.meta.dirname, ".compiler-"))
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
    // A message goes on in lines that are indented.
    return Array.from(
      output.matchAll(/^program\.ts\((\d+),(\d+)\): error TS\d+: (.*(?:\n .*)*)/gm),
      ([, line, column, text]) => [`${line}:${column}`, text].join(" ")
    )
  } finally {
    await rm(folder, { recursive: true })
  }
}

it.each(compilers)("%s: what amap returns has a type also where lib lacks AsyncDisposable", async (compiler) => {
  const errors = await errorsOf(
    compiler,
    `import { amap } from "../../src/index.ts"
const results = amap([1], async (n) => String(n))
export const wrong: number = results
export const loop = async () => {
  for await (const text of results) {
    const length: number = text
    console.log(length)
  }
}
`
  )
  expect(errors).toEqual([
    expect.stringContaining("3:14 Type 'Results<string>' is not assignable to type 'number'") as string,
    expect.stringContaining("6:11 Type 'string' is not assignable to type 'number'") as string
  ])
})
