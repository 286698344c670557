/**
 * What the facade adds to a program for the browser: its bundle, against a bundle of what it uses of Effect and nothing
 * else. What that is, is read off the facade's own code as a bundler leaves it.
 */
import { brotliCompressSync, constants } from "node:zlib"
import { build, parseAst } from "vite"
import * as format from "../lib/format.ts"
import type { Suite } from "../lib/suite.ts"

interface Sizes {
  readonly whole: Import
  /** With a part of what there is to import, as programs do. */
  readonly imports: ReadonlyArray<Import>
  /** Our own modules, each by how much smaller all together are without it, compressed as one; largest first. */
  readonly parts: ReadonlyArray<Part>
}

interface Import {
  /** What a program takes from the facade. */
  readonly names: string
  /** What that uses of Effect, as `Module.member`. */
  readonly uses: ReadonlyArray<string>
  readonly facade: Bundle
  readonly effect: Bundle
}

interface Part {
  readonly module: string
  readonly saved: Bundle
}

interface Bundle {
  readonly minified: number
  readonly brotli: number
}

/** Bytes, compressed. */
const reach = 6000

const partial = ["{ runAll }", "{ runOnEach }", "{ amap }", "{ runAny }", "{ createMeter }"]

/** How many modules the report names. */
const mostParts = 16

const entryId = "\0entry.js"

interface Bundling {
  readonly isMinified?: boolean
  readonly isEffectLeftOut?: boolean
  /** Whether each module becomes a file of its own. */
  readonly isSplit?: boolean
}

interface Output {
  readonly code: string
  /** Where the last of what is in it comes from. */
  readonly module: string
}

/** The files of a bundle whose entry is `entry`. */
const bundle = async (
  entry: string,
  { isEffectLeftOut = false, isMinified = true, isSplit = false }: Bundling = {}
): Promise<ReadonlyArray<Output>> => {
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
      minify: isMinified ? "oxc" : false,
      modulePreload: false,
      rolldownOptions: {
        input: "entry",
        external: isEffectLeftOut ? [/^effect(\/|$)/] : [],
        preserveEntrySignatures: "strict",
        output: { format: "es", preserveModules: isSplit }
      }
    }
  })
  const chunks = [output].flat().flatMap((each) => ("output" in each ? each.output : []))
  return chunks
    .filter((chunk) => chunk.type === "chunk")
    .map(({ code, moduleIds }) => ({ code, module: moduleIds.at(-1)! }))
}

const sizesOf = (files: ReadonlyArray<Output>): Bundle => {
  const code = codeOf(files)
  return {
    minified: Buffer.byteLength(code),
    brotli: brotliCompressSync(code, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }).byteLength
  }
}

const codeOf = (files: ReadonlyArray<Output>): string => files.map(({ code }) => code).join("\n")

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

const exporting = (names: string): string => `export ${names} from "@fibermeter/promise"`

const measureImport = async (names: string): Promise<Import> => {
  const uses = usesOf(codeOf(await bundle(exporting(names), { isMinified: false, isEffectLeftOut: true })))
  if (uses.length === 0) throw new Error(`found nothing that ${names} uses of Effect`)
  const same = uses.map((use, i) => {
    const [module, member] = use.split(".")
    return `export { ${member} as use${i} } from "effect/${module}"`
  })
  return {
    names,
    uses,
    facade: sizesOf(await bundle(exporting(names))),
    effect: sizesOf(await bundle(same.join("\n")))
  }
}

/** What each of our modules adds to the others, largest first. */
const measureParts = async (): Promise<ReadonlyArray<Part>> => {
  const files = await bundle(exporting("*"), { isEffectLeftOut: true, isSplit: true })
  const whole = sizesOf(files)
  return files
    .filter(({ module }) => module !== entryId)
    .map((file) => ({
      module: fileOf(file.module),
      saved: difference(whole, sizesOf(files.filter((other) => other !== file)))
    }))
    .toSorted((a, b) => b.saved.brotli - a.saved.brotli)
}

/** Package and file, without what all have in common. */
const fileOf = (id: string): string => id.replace(/^.*\/packages\//, "").replace("/src/", "/")

const measure = async (imports: ReadonlyArray<string>): Promise<Sizes> => ({
  whole: await measureImport("*"),
  imports: await Promise.all(imports.map(measureImport)),
  parts: await measureParts()
})

export const size: Suite<Sizes> = {
  name: "size",
  lines: (scale) => [
    {
      label: "promise in a browser bundle",
      measure: () => measure(scale === "smoke" ? partial.slice(0, 1) : partial)
    }
  ],
  report: (results) => ({
    title: "Size: the facade in a browser bundle",
    notes: results.flatMap(({ whole }) => [
      `Bundled by Vite. What it uses of Effect: ${whole.uses.map((use) => `\`${use}\``).join(", ")}.`,
      "Our modules are measured as files of their own, with Effect left out: they do not add up to the difference."
    ]),
    tables: [
      {
        columns: ["bundle", "minified", "and brotli", "to reach", ""],
        rows: results.flatMap(({ whole: { effect, facade } }) => [
          ["@fibermeter/promise, Effect included", ...sizes(facade), "", ""],
          ["the same imports of Effect by themselves", ...sizes(effect), "", ""],
          [
            "difference",
            ...sizes(difference(facade, effect)),
            `≤ ${format.kilobytes(reach)}`,
            facade.brotli - effect.brotli <= reach ? "reached" : "missed"
          ]
        ])
      },
      {
        title: "Programs that import less",
        columns: ["import", "minified", "and brotli", "difference, minified", "and brotli"],
        rows: results.flatMap(({ imports }) =>
          imports.map(({ effect, facade, names }) => [names, ...sizes(facade), ...sizes(difference(facade, effect))])
        )
      },
      {
        title: "What our part is made of: by how much it shrinks without a module",
        columns: ["module", "minified", "and brotli"],
        rows: results.flatMap(({ parts }) =>
          parts.slice(0, mostParts).map(({ module, saved }) => [module, ...sizes(saved)])
        )
      }
    ],
    charts: [],
    broken: []
  })
}

const difference = (a: Bundle, b: Bundle): Bundle => ({
  minified: a.minified - b.minified,
  brotli: a.brotli - b.brotli
})

const sizes = ({ brotli, minified }: Bundle): ReadonlyArray<string> => [
  format.kilobytes(minified),
  format.kilobytes(brotli)
]
