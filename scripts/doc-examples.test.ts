import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { assertions } from "./doc-assertions.ts"
import { addAssertions, extract, findExamples } from "./doc-examples.ts"

/** Runs a snippet without imports as the plugin would have it run. */
const run = (code: string): Promise<void> => {
  const body = addAssertions("README.md", code)
  // oxlint-disable-next-line typescript/no-implied-eval -- the test runs text
  return Function("__assertions", "console", `return (async () => { ${body} })()`)(assertions, undefined)
}

describe("findExamples", () => {
  it("takes the ts fences of a document, each on the lines that it has there", () => {
    const text = ["# Title", "```ts", "1 + 1 // => 2", "```", "```js", "no()", "```", "```typescript", "a", "```"]
    expect(findExamples("README.md", text.join("\n"))).toEqual([
      { line: 3, run: true, code: "\n\n1 + 1 // => 2\n" },
      { line: 9, run: true, code: "\n".repeat(8) + "a\n" }
    ])
  })

  it("knows what is only to be type-checked, and fences inside lists and other fences", () => {
    const text = ["- item", "  ```ts no-run", "  f(", "    1)", "  ```", "````md", "```ts", "x", "```", "````"]
    expect(findExamples("README.md", text.join("\n"))).toEqual([{ line: 3, run: false, code: "\n\nf(\n  1)\n" }])
  })

  it("takes those of doc comments, and nothing else, from a module", () => {
    const text = [
      "const a = `",
      "```ts",
      "`",
      "/**",
      " * Says.",
      " * ```ts",
      " * one({",
      " *   b: 1 })",
      " * ```",
      " */"
    ]
    expect(findExamples("src/a.ts", text.join("\n"))).toEqual([
      { line: 7, run: true, code: "\n\n\n\n\n\none({\n  b: 1 })\n" }
    ])
  })

  it("joins a fence that continues another one, each on its own lines", () => {
    const text = ["```ts", "const a = 1", "```", "Then:", "```ts continues", "a // => 1", "```"]
    expect(findExamples("README.md", text.join("\n"))).toEqual([
      { line: 2, run: true, code: "\nconst a = 1\n\n\n\na // => 1\n" }
    ])
    expect(() => findExamples("README.md", "```ts continues\n1\n```")).toThrow(
      "README.md:1: there is no fence that this one continues"
    )
  })

  it("rejects a fence that is never closed", () => {
    expect(() => findExamples("README.md", "```ts\n1")).toThrow("README.md:1: this fence is never closed")
  })
})

describe("an example", () => {
  it("passes when every value is as its comment says", async () => {
    await run(`
      const list = [1,
        2] // => [1, 2]
      list.map((n) => ({ n })); // => [{ n: 1 }, { n: 2 }]
      console.log(list[0], "two") // => 1, "two"
      await Promise.resolve({ a: undefined }) // => { a: undefined }
      for (const n of list) {
        n > 0 // => true
      }
    `)
  })

  it("fails when an expression has another value", async () => {
    await expect(run("1 + 1 // => 3")).rejects.toThrow("README.md:1")
  })

  it("fails when a declared name has another value", async () => {
    await expect(run("\n\nconst two = 2 // => 3")).rejects.toThrow("README.md:3")
  })

  it("fails when something else would have been logged", async () => {
    await expect(run("console.log(1, 2) // => 1, 3")).rejects.toThrow("README.md:1")
    await expect(run("console.log(1) // => 1, 1")).rejects.toThrow("README.md:1")
  })

  it("fails when an object has a key more, even an undefined one", async () => {
    await expect(run("({ a: undefined }) // => {}")).rejects.toThrow("README.md:1")
  })

  it("fails in a statement inside another that is asserted too", async () => {
    const code = (value: number) => `[1].map((n) => {\n  n // => ${value}\n  return n\n}) // => [1]`
    await run(code(1))
    await expect(run(code(2))).rejects.toThrow("README.md:2")
  })

  it("fails when an assertion is never reached", async () => {
    await expect(run("const f = () => {\n  1 // => 1\n}")).rejects.toThrow('1 of the 1 "// =>" were never reached')
  })

  it("fails when the code around an assertion catches its failure", async () => {
    await expect(run("try {\n  1 // => 2\n} catch {}")).rejects.toThrow("README.md:2")
  })

  it("fails when it throws", async () => {
    await expect(run("throw new Error('no')")).rejects.toThrow("no")
  })

  it("is rejected when the comment follows something without a value", () => {
    expect(() => addAssertions("README.md", "if (true) {} // => 1")).toThrow('README.md:1: "// =>" has to follow')
    expect(() => addAssertions("README.md", "// => 1")).toThrow('README.md:1: "// =>" has to follow')
  })

  it("is rejected when no expression follows the arrow", () => {
    expect(() => addAssertions("README.md", "1 // => one, or so")).toThrow("is no expression")
  })
})

describe("extract", () => {
  const root = mkdtempSync(join(tmpdir(), "doc-examples-"))
  afterAll(() => rmSync(root, { recursive: true }))

  it("writes what there is and removes what there was", () => {
    mkdirSync(join(root, "packages/a/src"), { recursive: true })
    writeFileSync(join(root, "README.md"), "```ts\n1\n```\n```ts no-run\n2\n```\n")
    writeFileSync(join(root, "packages/a/src/a.ts"), "/**\n * ```ts\n * 3\n * ```\n */\n")
    expect(extract(root)).toBe(3)
    expect(readFileSync(join(root, ".doc-examples/README.md/2.ts"), "utf8")).toBe("\n1\n")
    expect(readFileSync(join(root, ".doc-examples/README.md/5.no-run.ts"), "utf8")).toBe("\n\n\n\n2\n")
    expect(readFileSync(join(root, ".doc-examples/packages/a/src/a.ts/3.ts"), "utf8")).toBe("\n\n3\n")

    writeFileSync(join(root, "README.md"), "")
    expect(extract(root)).toBe(1)
    expect(() => readFileSync(join(root, ".doc-examples/README.md/2.ts"))).toThrow("ENOENT")
  })
})
