/** The guide shows only what this folder runs. */
import { readdirSync, readFileSync } from "node:fs"
import { basename } from "node:path"
import { describe, expect, it } from "vitest"
import { bare, guide, parts, sections, updated } from "./support/guide.ts"

const text = readFileSync(guide, "utf8")
const manifest = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8")) as {
  readonly dependencies: Record<string, string>
  readonly devDependencies: Record<string, string>
}

describe("the guide", () => {
  it("shows the rows and claims of the tests (node examples/moving-over/write.ts)", () => {
    expect(bare(updated(text))).toBe(bare(text))
  })

  it("shows the parts in the order of its sections, each once", () => {
    const shown = Array.from(text.matchAll(/^<!-- [\w-]+: \w+ -->$/gm), ([opening]) => opening)
    expect(shown).toEqual(parts().map(({ opening }) => opening))
  })

  it("has no other tables or code fences", () => {
    const rest = text.replaceAll(/^<!-- [\w-]+: \w+ -->$[\s\S]*?^<!-- end -->$/gm, "")
    expect(rest.match(/^\|/gm) ?? []).toEqual([])
    const fences = Array.from(rest.matchAll(/^ *(`{3,}|~{3,})(.*)\n[\s\S]*?^ *\1$/gm), ([, , language]) => language)
    // The documentation tests run these.
    expect(new Set(fences)).toEqual(new Set(["ts"]))
  })

  it("names the version of each library", () => {
    const peers = Object.entries(manifest.devDependencies)
    const versions = [...peers, ["effect", manifest.dependencies["effect"]]]
    expect(versions).toHaveLength(7)
    for (const [name, version] of versions) expect(text).toContain(`${name} ${version}`)
  })
})

it("every test file has a section", () => {
  const files = readdirSync(new URL(".", import.meta.url)).filter((file) => file.endsWith(".test.ts"))
  const names = files.map((file) => basename(file, ".test.ts")).filter((name) => name !== "guide")
  expect(names.toSorted()).toEqual(sections.map(({ name }) => name as string).toSorted())
})
