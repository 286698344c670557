/**
 * Builds what is published of all packages, from nothing: what is left of an earlier build would be published along.
 *
 * Core imports `effect`, its peer. Its own modules become one file for each entry and one that both share, since Node takes
 * most of a millisecond for each file that it loads (benchmark `load`). Its types stay file by file, with maps to the
 * sources, which are published.
 *
 * The facade becomes one module with the engine in it, so that it installs and loads as one small file: `index.js` with a
 * source map, and one file of types. `index.cjs` is the same for what can only load CommonJS, such as Jest without
 * `--experimental-vm-modules`; Node's own `require` gets the ES module (condition `module-sync`), so that no program has
 * two copies of it.
 */
import { spawnSync } from "node:child_process"
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, relative } from "node:path"
import { decode, encode } from "@jridgewell/sourcemap-codec"
import { rolldown } from "rolldown"
import type { InputOptions, OutputChunk, OutputOptions, Plugin } from "rolldown"
import { dts } from "rolldown-plugin-dts"
import { assignedFieldsLeftOut } from "./assigned-fields.ts"
import { declaredFunctions } from "./declared-functions.ts"
import { privateNames } from "./private-names.ts"

const root = join(import.meta.dirname, "..")
const core = join(root, "packages/fibermeter")
const facade = join(root, "packages/promise")
const dist = join(facade, "dist")
const redis = join(root, "packages/redis")
/** The facade's types, file by file; the `outDir` of its `tsconfig.build.json`. */
const types = join(root, ".build/promise")

for (const folder of [join(core, "dist"), join(redis, "dist"), dist, types]) {
  rmSync(folder, { recursive: true, force: true })
}
const { status } = spawnSync(
  "tsc",
  ["-b", "packages/promise/tsconfig.build.json", "packages/redis/tsconfig.build.json"],
  {
    cwd: root,
    stdio: "inherit"
  }
)
if (status !== 0) process.exit(status ?? 1)

const strict: InputOptions = {
  platform: "neutral",
  transform: { target: "es2023" },
  // Whatever a bundler is in doubt about would be published.
  onLog: (_, { message }) => {
    throw new Error(message)
  }
}

// The documentation is in the types. The comments that tell bundlers that a call has no side effects stay.
const written = {
  format: "es",
  comments: { jsdoc: false, legal: true, annotation: true },
  sourcemap: true,
  sourcemapExcludeSources: true
} as const

/**
 * Most of the time of an import is V8's parser, which takes about a tenth less for variables with short names (benchmark
 * `load`). Minifying the rest as well would save as much again, but the file is read, by users and in stack traces: it keeps
 * its lines, and the names of functions and classes.
 */
const legible = { compress: false, mangle: { toplevel: false, keepNames: true }, codegen: false } as const

/**
 * The modules of Effect that core imports. Node takes 0.4 ms to resolve each, even if the program has loaded it (benchmark
 * `load`), so first look for the same in one of these. Any other would be bundled, and is rejected as foreign.
 */
const modulesOfEffect = [
  "Cause",
  "Clock",
  "Context",
  "Data",
  "Duration",
  "Effect",
  "Exit",
  "Layer",
  "Metric",
  "Schedule",
  "Scope",
  "Stream"
].map((name) => `effect/${name}`)

await buildModules({ folder: core, entries: ["index", "engine"], external: modulesOfEffect, sharesNamespaces: true })
// Only its layers import Effect, so they are not in what the entries share.
await buildModules({ folder: redis, entries: ["index", "effect"], external: [/^effect\//, "fibermeter"] })

const declarations = await rolldown({
  ...strict,
  cwd: facade,
  input: join(types, "index.d.ts"),
  // The declarations are there already, and the generator is never asked.
  plugins: [withoutHeaders(), dts({ dtsOnly: true, generator: "oxc", tsconfig: false, sourcemap: false })]
})
const { output: declared } = await declarations.write({ file: join(dist, "index.d.cts"), format: "es" })
await declarations.close()
// The types are the same for both, and are published once: an ES module may export those of a CommonJS module, but not the
// other way round.
writeFileSync(join(dist, "index.d.ts"), 'export * from "./index.cjs"\n')

const program = await rolldown({
  ...strict,
  cwd: facade,
  input: join(facade, "src/index.ts"),
  plugins: [declaredFunctions(), assignedFieldsLeftOut()]
})
const members = privateNames(declared[0].code)
const minify = { ...legible, mangleProps: { include: new RegExp(`^(?:${members.join("|")})$`) } }
const one: OutputOptions = { ...written, codeSplitting: false, minify }
const { output } = await program.write({
  ...one,
  file: join(dist, "index.js"),
  // As the packages are called: the files themselves are not published.
  sourcemapPathTransform: (path) => path.replace(/^(\.\.\/)+/, "").replace(/^src\//, "promise/src/")
})
shortenMap(join(dist, "index.js"), new Set(members))
// Minified, so that an install stays small: only tools that cannot load ES modules, such as Jest, read this file. Node loads
// the other one, by `require`, too.
await program.write({
  ...one,
  minify: { ...minify, codegen: true, compress: true, mangle: true },
  file: join(dist, "index.cjs"),
  format: "cjs",
  exports: "named",
  sourcemap: false
})
await program.close()
refuseForeign(output[0])

interface Modules {
  readonly folder: string
  readonly entries: ReadonlyArray<string>
  readonly external: Array<string | RegExp>
  /** Whether what an entry exports as a namespace is in the file that all share. */
  readonly sharesNamespaces?: boolean
}

/**
 * Keeps the position of each line of the file and of its sources, and of each name that stack traces have and that has been
 * replaced, where it is declared. Where else in a line something stands is no news, and made up two thirds of the map.
 */
function shortenMap(file: string, members: ReadonlySet<string>): void {
  const code = readFileSync(file, "utf8").split("\n")
  const map = JSON.parse(readFileSync(`${file}.map`, "utf8")) as { mappings: string; names: ReadonlyArray<string> }
  const isTraced = (name: string, row: number, column: number): boolean => {
    const line = code[row]!
    const isDeclared = /^\s*(?:(?:static|async|get|set) |\*)*$/.test(line.slice(0, column))
    return (members.has(name) && isDeclared) || line.startsWith(`${name.split(".").at(-1)}$`, column)
  }
  const lines = decode(map.mappings).map((line, row) =>
    line.flatMap((segment, i): typeof line => {
      if (segment.length === 5 && isTraced(map.names[segment[4]]!, row, segment[0])) return [segment]
      const isNewLine = i === 0 || (segment.length > 1 && segment[2] !== line[i - 1]![2])
      return isNewLine ? [segment.length === 5 ? [segment[0], segment[1], segment[2], segment[3]] : segment] : []
    })
  )
  // In the order in which they are used.
  const named = lines.flat().filter((segment) => segment.length === 5)
  const used = Array.from(new Set(named.map((segment) => segment[4])))
  const places = new Map(used.map((name, place) => [name, place]))
  for (const segment of named) segment[4] = places.get(segment[4])!
  const names = used.map((name) => map.names[name])
  writeFileSync(`${file}.map`, JSON.stringify({ ...map, names, mappings: encode(lines) }))
}

/**
 * What an entry exports as a namespace is a module of its own. As an object, which bundlers make of it otherwise, it would
 * be filled whenever core is loaded, and stay whole in the bundles of users.
 */
async function buildModules({ entries, external, folder, sharesNamespaces = false }: Modules): Promise<void> {
  const sources = join(folder, "src")
  const namespaces = entries.flatMap((entry) =>
    Array.from(
      readFileSync(join(sources, `${entry}.ts`), "utf8").matchAll(/^export \* as \w+ from "\.\/(.+)\.ts"/gm),
      ([, name]) => name!
    )
  )
  const apart = (sharesNamespaces ? entries : [...entries, ...namespaces]).map((name) => join(sources, `${name}.ts`))
  const program = await rolldown({
    ...strict,
    cwd: folder,
    input: Object.fromEntries([...entries, ...namespaces].map((name) => [name, join(sources, `${name}.ts`)])),
    external,
    plugins: [
      declaredFunctions(),
      assignedFieldsLeftOut(),
      {
        name: "namespaces as modules",
        resolveId: (id, importer) => {
          const isEntry = importer !== undefined && entries.some((entry) => importer === join(sources, `${entry}.ts`))
          const name = id.replace(/^\.\/(.+)\.ts$/, "$1")
          return isEntry && namespaces.includes(name) ? { id: `./${name}.js`, external: true } : undefined
        }
      }
    ],
    makeAbsoluteExternalsRelative: false
  })
  const { output } = await program.write({
    ...written,
    minify: legible,
    dir: join(folder, "dist"),
    chunkFileNames: "[name].js",
    codeSplitting: { groups: [{ name: "shared", test: (id) => !apart.includes(id) }] }
  })
  await program.close()
  for (const each of output) if (each.type === "chunk") refuseForeign(each)
}

/** Takes off what a module says of itself, but for the first: in one file it would belong to whatever comes next. */
function withoutHeaders(): Plugin {
  return {
    name: "without the headers of modules",
    transform: (code, id) =>
      id.endsWith("/index.d.ts")
        ? undefined
        : code.replace(/^\/\*\*(?:(?!\*\/)[\s\S])*\*\/\s*(?=\/\*\*|import |export \{)/, "")
  }
}

/**
 * Rejects code of other packages, which would need their licence, and installs that are declared to have none;
 * and letters beyond ASCII, one of which makes V8 keep all of a file in two bytes a letter, and load it the slower.
 */
function refuseForeign({ code, modules }: OutputChunk): void {
  const sources = join(root, "packages/")
  const foreign = Object.entries(modules)
    .filter(([id, { renderedLength }]) => renderedLength > 0 && !id.startsWith(sources))
    .map(([id]) => relative(root, id))
  const letter = /\P{ASCII}/u.exec(code)?.[0]
  if (letter !== undefined) throw new Error(`not ASCII, in what is published: ${letter}`)
  if (foreign.length > 0) throw new Error(`not ours, in what is published:\n${foreign.join("\n")}`)
}
