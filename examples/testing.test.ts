/** The programs of `packages/promise/docs/testing-your-code.md`: the page shows them word for word, and they pass. */
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"

const root = join(import.meta.dirname, "..")
const read = (path: string): string => readFileSync(join(root, path), "utf8")

it("the page shows the programs", () => {
  const page = read("packages/promise/docs/testing-your-code.md")
  const shown = Array.from(page.matchAll(/^```ts.*\n([\s\S]*?)^```$/gm), ([, code]) => code)
  // Vitest runs the first by itself.
  expect(shown).toEqual([read("examples/testing/vitest.test.ts"), read("examples/testing/node.ts")])
})

describe("the one for node:test passes", { timeout: 60_000 }, () => {
  it.each(["node-22", "node-24", "node-26"])("on %s", async (node) => {
    const binary = join(root, "runtimes/node_modules", node, "bin/node")
    // Where another run of tests is the parent, Node's would report to it.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    const args = ["--no-warnings", "--test-reporter=tap", "--test", join(root, "examples/testing/node.ts")]
    const output = await new Promise<string>((resolve) => {
      execFile(binary, args, { env }, (error, out, err) => resolve(`${error?.message ?? ""}${out}${err}`))
    })
    expect(output).toContain("# pass 1\n# fail 0\n")
  })
})
