/** The documentation as files: its examples on every promised Node, its links, its length, and the model that it shows. */
import { execFile } from "node:child_process"
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { describe, expect, it } from "vitest"
import { addAssertions, documents, findExamples } from "./doc-examples.ts"

const root = join(import.meta.dirname, "..")
const read = (path: string): string => readFileSync(join(root, path), "utf8")
const files = globSync(documents, { cwd: root, exclude: (name) => name === "node_modules" }).toSorted()
/** Links between the pages of the site are checked by its build. */
const markdown = [...files.filter((path) => path.endsWith(".md") && !path.startsWith("site/")), "CONTRIBUTING.md"]

/** What the assertions of an example are on a plain Node, without Vitest. */
const assertions = `
import { deepStrictEqual } from "node:assert"
export const assertions = (count) => {
  const unreached = new Set(Array.from({ length: count }, (_, id) => id))
  return {
    __equal: (id, where, actual, expected) => {
      unreached.delete(id)
      deepStrictEqual(actual, expected, where)
      return actual
    },
    __done: () => deepStrictEqual(unreached.size, 0, "assertions that were never reached")
  }
}
`

/** Runs every example in one process of a Node, which strips the types itself. Gives the failures. */
const failuresOn = (node: string): Promise<string> => {
  const folder = join(root, ".check/examples", node)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, "assertions.mjs"), assertions)
  const names = files.flatMap((path) =>
    findExamples(path, read(path))
      .filter(({ run }) => run)
      .map(({ code, line }) => {
        const name = `${path.replaceAll("/", "-")}-${line}.ts`
        const head = 'import { assertions as __assertions } from "./assertions.mjs"; '
        writeFileSync(join(folder, name), head + addAssertions(path, code))
        return name
      })
  )
  expect(names.length).toBeGreaterThan(60)
  const main = `
    let count = 0
    for (const name of ${JSON.stringify(names)}) {
      try {
        await import("./" + name)
        count++
      } catch (error) {
        console.error(name, error)
      }
    }
    if (count < ${names.length}) process.exitCode = 1
  `
  writeFileSync(join(folder, "main.mjs"), main)
  return new Promise((resolve) => {
    const binary = join(root, "runtimes/node_modules", node, "bin/node")
    execFile(binary, ["--no-warnings", join(folder, "main.mjs")], (error, _, stderr) =>
      resolve(error === null ? "" : `${error.message}\n${stderr}`)
    )
  })
}

describe("the examples run as they are", { timeout: 120_000 }, () => {
  it.each(["node-22", "node-24", "node-26"])("on %s", async (node) => {
    expect(await failuresOn(node)).toBe("")
  })
})

describe("links", () => {
  /** The relative links of a document, without their fragments. */
  const linksOf = (path: string): Array<string> =>
    Array.from(read(path).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g), ([, link]) => link!)

  it.each(markdown)("of %s lead to files that exist", (path) => {
    const missing = linksOf(path).filter((link) => !existsSync(join(root, dirname(path), link)))
    expect(missing).toEqual([])
  })

  it.each(["fibermeter", "promise"])("of what is published of %s lead to what is published", (name) => {
    const folder = `packages/${name}`
    const { files: published } = JSON.parse(read(`${folder}/package.json`)) as { readonly files: ReadonlyArray<string> }
    const targets = markdown
      .filter((path) => path.startsWith(`${folder}/`))
      .flatMap((path) => linksOf(path).map((link) => relative(folder, join(dirname(path), link))))
    expect(targets).not.toEqual([])
    expect(targets.filter((target) => !published.includes(target.split("/")[0]!))).toEqual([])
  })
})

it("the README has at most 250 lines", () => {
  expect(read("README.md").split("\n").length).toBeLessThanOrEqual(250)
})

it("how-it-works.md shows all of the executable model of the tests", () => {
  const model = read("packages/fibermeter/test/support/effectModel.ts")
  const page = read("packages/fibermeter/docs/how-it-works.md")
  const [imports, ...parts] = model.slice(model.indexOf("\nimport ")).split(/^\/\/ Part .*$/m)
  expect(parts).toHaveLength(3)
  const shown = Array.from(page.matchAll(/^```ts.*\n([\s\S]*?)^```$/gm), ([, code]) => code!)
  // The last fence is the example.
  expect(shown.slice(0, -1).join("\n").trim()).toBe([imports, ...parts].map((part) => part!.trim()).join("\n\n"))
})
