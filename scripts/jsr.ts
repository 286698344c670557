/**
 * `node scripts/jsr.ts`: checks that JSR would take both packages. `node scripts/jsr.ts --publish` publishes them.
 *
 * Everything that JSR's configuration says is in `package.json` already, so it is written from there. Core goes there as its
 * sources, and the facade as the one file that npm gets, which has the engine in it and needs no other package;
 * `scripts/build.ts` has to have run.
 */
import { spawnSync } from "node:child_process"
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"

const root = join(import.meta.dirname, "..")

interface Manifest {
  readonly version: string
  readonly license: string
  readonly files: ReadonlyArray<string>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

const texts = ["docs", "README.md", "AGENTS.md", "LICENSE"]

const prepare = (folder: string, name: string, exports: Readonly<Record<string, string>>, code: string): string => {
  const from = join(root, "packages", folder)
  const to = join(root, ".build/jsr", folder)
  const manifest = JSON.parse(readFileSync(join(from, "package.json"), "utf8")) as Manifest
  rmSync(to, { recursive: true, force: true })
  mkdirSync(to, { recursive: true })
  for (const each of [code, ...texts]) cpSync(join(from, each), join(to, each), { recursive: true })
  const imports = Object.entries(manifest.peerDependencies ?? {}).flatMap(([peer, range]) => [
    [peer, `npm:${peer}@${range}`],
    [`${peer}/`, `npm:/${peer}@${range}/`]
  ])
  const configuration = {
    name,
    // Nothing is published as 0.0.0, the version before the first release.
    version: manifest.version === "0.0.0" ? "0.1.0" : manifest.version,
    license: manifest.license,
    exports,
    imports: Object.fromEntries(imports) as Readonly<Record<string, string>>,
    publish: { include: [code, ...texts], exclude: ["!dist"] }
  }
  writeFileSync(join(to, "jsr.json"), JSON.stringify(configuration, undefined, 2))
  return to
}

const core = prepare(
  "fibermeter",
  "@fibermeter/fibermeter",
  { ".": "./src/index.ts", "./engine": "./src/engine.ts" },
  "src"
)

const facade = prepare("promise", "@fibermeter/promise", { ".": "./dist/index.js" }, "dist")
const [program, types] = [join(facade, "dist/index.js"), join(facade, "dist/index.d.ts")]
// What npm's file refers to are the types of the CommonJS file.
cpSync(join(facade, "dist/index.d.cts"), types)
for (const each of ["index.cjs", "index.d.cts", "index.js.map"]) rmSync(join(facade, "dist", each))
const code = readFileSync(program, "utf8").replace(/\n\/\/# sourceMappingURL=.*\n?$/, "\n")
writeFileSync(program, `/* @ts-self-types="./index.d.ts" */\n${code}`)

const publishes = process.argv.includes("--publish")
for (const folder of [core, facade]) {
  const deno = join(root, "runtimes/node_modules/.bin/deno")
  // JSR infers the types of exports from the syntax alone, and those of Effect's classes are inferred by the compiler.
  const slow = folder === core ? ["--allow-slow-types"] : []
  const args = ["publish", ...slow, "--allow-dirty", ...(publishes ? [] : ["--dry-run"])]
  const { status } = spawnSync(deno, args, { cwd: folder, stdio: "inherit" })
  if (status !== 0) process.exitCode = 1
}
