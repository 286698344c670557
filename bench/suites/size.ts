/**
 * What the facade adds to a program for the browser: its bundle, against a bundle of what it uses of Effect and nothing
 * else. What that is, is read off the facade's own code as a bundler leaves it.
 */
import { brotliCompressSync, constants } from "node:zlib"
import { build, parseAst } from "vite"
import * as format from "../lib/format.ts"
import type { Suite } from "../lib/suite.ts"

interface Sizes {
  /** What the facade uses of Effect, as `Module.member`. */
  readonly uses: ReadonlyArray<string>
  readonly facade: Bundle
  readonly effect: Bundle
}

interface Bundle {
  readonly minified: number
  readonly brotli: number
}

const reach = 6000

const entryId = "\0entry.js"

/** The code of a bundle whose entry is `entry`. */
const bundle = async (entry: string, isEffectLeftOut: boolean): Promise<string> => {
  const output = await build({
    root: import.meta.dirname,
    configFile: false,
    logLevel: "silent",
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === "entry" ? entryId : undefined),
        load: (id) => (id === entryId ? entry : undefined)
      }
    ],
    build: {
      write: false,
      target: "es2023",
      // A module for a browser, with nothing kept for others to import.
      minify: isEffectLeftOut ? false : "oxc",
      modulePreload: false,
      rolldownOptions: {
        input: "entry",
        external: isEffectLeftOut ? [/^effect(\/|$)/] : [],
        preserveEntrySignatures: "strict",
        output: { format: "es" }
      }
    }
  })
  const chunks = [output].flat().flatMap((each) => ("output" in each ? each.output : []))
  return chunks.map((chunk) => (chunk.type === "chunk" ? chunk.code : "")).join("\n")
}

const sizesOf = (code: string): Bundle => ({
  minified: Buffer.byteLength(code),
  brotli: brotliCompressSync(code, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }).byteLength
})

interface Node {
  readonly type: string
  readonly [key: string]: unknown
}

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && "type" in value

const visit = (value: unknown, onNode: (node: Node) => void): void => {
  if (Array.isArray(value)) for (const each of value) visit(each, onNode)
  else if (isNode(value)) {
    onNode(value)
    for (const each of Object.values(value)) visit(each, onNode)
  }
}

/** `Module.member` for all that a program takes from Effect's modules. */
const usesOf = (code: string): ReadonlyArray<string> => {
  const program = parseAst(code) as unknown as Node
  const modules = new Map<string, string>()
  const uses = new Set<string>()
  const nameOf = (node: unknown): string => (node as { readonly name: string }).name
  visit(program, (node) => {
    if (node.type !== "ImportDeclaration") return
    const from = (node["source"] as { readonly value: string }).value
    for (const specifier of node["specifiers"] as ReadonlyArray<Node>) {
      const local = nameOf(specifier["local"])
      // `import { Effect } from "effect"` is a module; `import { dual } from "effect/Function"` is a member of one.
      if (from === "effect") modules.set(local, nameOf(specifier["imported"]))
      else if (specifier.type === "ImportNamespaceSpecifier") modules.set(local, from.replace("effect/", ""))
      else uses.add(`${from.replace("effect/", "")}.${nameOf(specifier["imported"])}`)
    }
  })
  visit(program, (node) => {
    if (node.type !== "MemberExpression" || node["computed"] === true) return
    const object = node["object"] as Node
    const module = object.type === "Identifier" ? modules.get(nameOf(object)) : undefined
    if (module !== undefined) uses.add(`${module}.${nameOf(node["property"])}`)
  })
  return [...uses].sort()
}

const measure = async (): Promise<Sizes> => {
  const facade = `export * from "@fibermeter/promise"`
  const uses = usesOf(await bundle(facade, true))
  if (uses.length === 0) throw new Error("found nothing that the facade uses of Effect")
  const same = uses.map((use, i) => {
    const [module, member] = use.split(".")
    return `export { ${member} as use${i} } from "effect/${module}"`
  })
  return {
    uses,
    facade: sizesOf(await bundle(facade, false)),
    effect: sizesOf(await bundle(same.join("\n"), false))
  }
}

export const size: Suite<Sizes> = {
  name: "size",
  lines: () => [{ label: "promise in a browser bundle", measure }],
  report: (results) => ({
    title: "Size: the facade in a browser bundle",
    notes: results.map(
      ({ uses }) => `Bundled by Vite. What it uses of Effect: ${uses.map((use) => `\`${use}\``).join(", ")}.`
    ),
    tables: [
      {
        columns: ["bundle", "minified", "and brotli", "to reach", ""],
        rows: results.flatMap(({ effect, facade }) => [
          ["@fibermeter/promise, Effect included", ...sizes(facade), "", ""],
          ["the same imports of Effect by themselves", ...sizes(effect), "", ""],
          [
            "difference",
            ...sizes({ minified: facade.minified - effect.minified, brotli: facade.brotli - effect.brotli }),
            `≤ ${format.kilobytes(reach)}`,
            facade.brotli - effect.brotli <= reach ? "reached" : "missed"
          ]
        ])
      }
    ],
    charts: [],
    broken: []
  })
}

const sizes = ({ brotli, minified }: Bundle): ReadonlyArray<string> => [
  format.kilobytes(minified),
  format.kilobytes(brotli)
]
