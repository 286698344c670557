/**
 * What the facade adds to a bundle: programs that import all of it, or a part, by three bundlers. They bundle the file
 * that is published, as users' bundlers do. What it is made of is measured on the sources, module by module.
 */
import { join } from "node:path"
import { brotliCompressSync, constants } from "node:zlib"
import { build as esbuild } from "esbuild"
import { rolldown } from "rolldown"
import { build as vite } from "vite"
import * as format from "../lib/format.ts"
import { build } from "../lib/packed.ts"
import type { Suite } from "../lib/suite.ts"

interface Sizes {
  readonly imports: ReadonlyArray<Import>
  /** Our own modules, each by how much smaller all together are without it, compressed as one; largest first. */
  readonly parts: ReadonlyArray<Part>
}

interface Import {
  /** What a program takes from the facade. */
  readonly names: string
  readonly bundles: Readonly<Record<Bundler, Bundle>>
}

interface Part {
  readonly module: string
  readonly saved: Bundle
}

interface Bundle {
  readonly minified: number
  readonly brotli: number
}

/**
 * Bytes, minified and compressed, by each of the bundlers: 16.5 and 13.5 kB for the features that there were when these were
 * set, and what the later ones (overload, fairness, stores) may add, 5 kB in all and 0.5 kB to a program without meters.
 */
const reach: Readonly<Record<string, number>> = { "*": 21_500, "{ runAll }": 14_000 }

const names = ["*", "{ runAll }", "{ runOnEach }", "{ amap }", "{ runAny }", "{ createMeter }"]

/** How many modules the report names. */
const mostParts = 16

const packages = join(import.meta.dirname, "../../packages")
const published = join(packages, "promise/dist/index.js")
const sources = join(packages, "promise/src/index.ts")

const exporting = (names: string, from: string): string => `export ${names} from ${JSON.stringify(from)}`

const entryId = "\0entry.js"

const entryOf = (code: string) => ({
  name: "entry",
  resolveId: (id: string) => (id === "entry" ? entryId : undefined),
  load: (id: string) => (id === entryId ? code : undefined)
})

/** Each makes one minified module of a program. */
const bundlers = {
  esbuild: async (code: string): Promise<string> => {
    const { outputFiles } = await esbuild({
      stdin: { contents: code, resolveDir: import.meta.dirname },
      bundle: true,
      write: false,
      minify: true,
      format: "esm",
      target: "es2023",
      legalComments: "none"
    })
    return outputFiles[0]!.text
  },
  rolldown: async (code: string): Promise<string> => {
    const bundle = await rolldown({ input: "entry", plugins: [entryOf(code)], transform: { target: "es2023" } })
    const { output } = await bundle.generate({ format: "es", minify: true, codeSplitting: false })
    await bundle.close()
    return output[0].code
  },
  Vite: async (code: string): Promise<string> => {
    const output = await vite({
      root: import.meta.dirname,
      configFile: false,
      logLevel: "silent",
      plugins: [entryOf(code)],
      build: {
        write: false,
        target: "es2023",
        modulePreload: false,
        rolldownOptions: { input: "entry", preserveEntrySignatures: "strict", output: { format: "es" } }
      }
    })
    const chunks = [output].flat().flatMap((each) => ("output" in each ? each.output : []))
    return chunks.map((chunk) => (chunk.type === "chunk" ? chunk.code : "")).join("\n")
  }
} as const

type Bundler = keyof typeof bundlers

const bundlerNames = Object.keys(bundlers) as ReadonlyArray<Bundler>

const sizeOf = (code: string): Bundle => ({
  minified: Buffer.byteLength(code),
  brotli: brotliCompressSync(code, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }).byteLength
})

const measureImport = async (names: string): Promise<Import> => {
  const code = exporting(names, published)
  const bundles = await Promise.all(
    bundlerNames.map(async (name) => [name, sizeOf(await bundlers[name](code))] as const)
  )
  const empty = bundles.find(([, { minified }]) => minified < 1000)
  if (empty !== undefined) throw new Error(`${empty[0]} has left out what ${names} needs`)
  return { names, bundles: Object.fromEntries(bundles) as Record<Bundler, Bundle> }
}

/** What each of our modules adds to the others, largest first. */
const measureParts = async (): Promise<ReadonlyArray<Part>> => {
  const bundle = await rolldown({
    input: "entry",
    plugins: [entryOf(exporting("*", sources))],
    transform: { target: "es2023" }
  })
  const { output } = await bundle.generate({ format: "es", minify: true, preserveModules: true })
  await bundle.close()
  const files = output.flatMap((chunk) =>
    chunk.type === "chunk" && chunk.moduleIds.at(-1) !== entryId
      ? [{ code: chunk.code, module: chunk.moduleIds.at(-1)! }]
      : []
  )
  const of = (these: typeof files): Bundle => sizeOf(these.map(({ code }) => code).join("\n"))
  const whole = of(files)
  return files
    .map((file) => ({
      module: fileOf(file.module),
      saved: difference(whole, of(files.filter((other) => other !== file)))
    }))
    .toSorted((a, b) => b.saved.brotli - a.saved.brotli)
}

/** Package and file, without what all have in common. */
const fileOf = (id: string): string => id.replace(/^.*\/packages\//, "").replace("/src/", "/")

const difference = (a: Bundle, b: Bundle): Bundle => ({
  minified: a.minified - b.minified,
  brotli: a.brotli - b.brotli
})

const measure = async (names: ReadonlyArray<string>): Promise<Sizes> => {
  await build()
  return { imports: await Promise.all(names.map(measureImport)), parts: await measureParts() }
}

export const size: Suite<Sizes> = {
  name: "size",
  lines: (scale) => [
    { label: "promise in a bundle", measure: () => measure(scale === "smoke" ? names.slice(0, 1) : names) }
  ],
  report: (results) => ({
    title: "Size: the facade in a bundle",
    notes: [
      "A program that exports what it imports, bundled from the published file as a minified ES2023 module and compressed with brotli; the size before compression is in brackets. `*` imports everything.",
      "Modules are measured separately, so their sizes do not add up to the total."
    ],
    tables: [
      {
        columns: ["import", ...bundlerNames, "target", ""],
        rows: results.flatMap(({ imports }) =>
          imports.map(({ bundles, names }) => {
            const most = reach[names]
            const isReached = most === undefined || bundlerNames.every((name) => bundles[name].brotli <= most)
            return [
              names,
              ...bundlerNames.map((name) => sizes(bundles[name])),
              most === undefined ? "–" : `≤ ${format.kilobytes(most)}`,
              most === undefined ? "" : isReached ? "reached" : "missed"
            ]
          })
        )
      },
      {
        title: "Size by module: how much smaller the bundle is without it",
        columns: ["module", "minified", "and brotli"],
        rows: results.flatMap(({ parts }) =>
          parts
            .slice(0, mostParts)
            .map(({ module, saved }) => [module, format.kilobytes(saved.minified), format.kilobytes(saved.brotli)])
        )
      }
    ],
    charts: [],
    broken: []
  })
}

const sizes = ({ brotli, minified }: Bundle): string => `${format.kilobytes(brotli)} (${format.kilobytes(minified)})`
