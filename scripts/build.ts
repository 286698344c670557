/**
 * Builds what is published of both packages, from nothing: what is left of an earlier build would be published along.
 *
 * Core is compiled file by file and imports `effect`, its peer. The facade becomes one module with the engine in it, so
 * that it installs and loads as one small file: `index.js` with a source map, and one file of types. `index.cjs` is the
 * same for what can only load CommonJS, such as Jest without `--experimental-vm-modules`; Node's own `require` gets the
 * ES module (condition `module-sync`), so that no program has two copies of it.
 */
import { spawnSync } from "node:child_process"
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, relative } from "node:path"
import { rolldown } from "rolldown"
import type { InputOptions, OutputChunk, Plugin } from "rolldown"
import { dts } from "rolldown-plugin-dts"

const root = join(import.meta.dirname, "..")
const facade = join(root, "packages/promise")
const dist = join(facade, "dist")
/** The facade's types, file by file; the `outDir` of its `tsconfig.build.json`. */
const types = join(root, ".build/promise")

for (const folder of [join(root, "packages/fibermeter/dist"), dist, types]) {
  rmSync(folder, { recursive: true, force: true })
}
const { status } = spawnSync("tsc", ["-b", "packages/promise/tsconfig.build.json"], { cwd: root, stdio: "inherit" })
if (status !== 0) process.exit(status ?? 1)

const strict: InputOptions = {
  cwd: facade,
  // Whatever a bundler is in doubt about would be published.
  onLog: (_, { message }) => {
    throw new Error(message)
  }
}

const program = await rolldown({
  ...strict,
  input: join(facade, "src/index.ts"),
  platform: "neutral",
  transform: { target: "es2023" }
})
// The documentation is in the types. What tells bundlers that a call has no side effects stays.
const written = { comments: { jsdoc: false, legal: true, annotation: true }, codeSplitting: false } as const
const { output } = await program.write({
  ...written,
  file: join(dist, "index.js"),
  format: "es",
  sourcemap: true,
  sourcemapExcludeSources: true,
  // As the packages are called: the files themselves are not published.
  sourcemapPathTransform: (path) => path.replace(/^(\.\.\/)+/, "").replace(/^src\//, "promise/src/")
})
await program.write({ ...written, file: join(dist, "index.cjs"), format: "cjs", exports: "named" })
await program.close()
refuseForeign(output[0])

const declarations = await rolldown({
  ...strict,
  input: join(types, "index.d.ts"),
  // The declarations are there already, and the generator is never asked.
  plugins: [withoutHeaders(), dts({ dtsOnly: true, generator: "oxc", tsconfig: false, sourcemap: false })]
})
await declarations.write({ file: join(dist, "index.d.ts"), format: "es" })
await declarations.close()
writeFileSync(join(dist, "index.d.cts"), readFileSync(join(dist, "index.d.ts")))

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

/** The code of others would need their licence beside it, and installs that were told that there is none. */
function refuseForeign({ modules }: OutputChunk): void {
  const sources = join(root, "packages/")
  const foreign = Object.entries(modules)
    .filter(([id, { renderedLength }]) => renderedLength > 0 && !id.startsWith(sources))
    .map(([id]) => relative(root, id))
  if (foreign.length > 0) throw new Error(`not ours, in what is published:\n${foreign.join("\n")}`)
}
