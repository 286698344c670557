/**
 * What it takes to run the tests of the sources on what is published: an import of a source becomes one of the file that
 * was built from it. Only the entries of a package are files of their own, so that a test which reaches behind them, or
 * needs a helper that does, cannot run.
 */
import { globSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"

const root = join(import.meta.dirname, "..")
const packages = join(root, "packages")
const facade = join(packages, "promise")

/** Folders of the two packages as they are published: they have a `dist`. */
export interface Published {
  readonly fibermeter: string
  readonly promise: string
}

type Name = keyof Published

/** The sources that programs import, by what they are called in `dist`. */
const entries: Readonly<Record<Name, ReadonlyArray<string>>> = { fibermeter: ["index", "engine"], promise: ["index"] }

const sourcesOf = (name: Name): string => join(packages, name, "src/")

/** The published file that was made of a source; none, where that is no file of its own. */
const builtFrom = (source: string, published: Published): string | undefined => {
  for (const name of Object.keys(entries) as ReadonlyArray<Name>) {
    const entry = entries[name].find((each) => source === join(sourcesOf(name), `${each}.ts`))
    if (entry !== undefined) return join(published[name], "dist", `${entry}.js`)
  }
  return undefined
}

const importsOf = (file: string): ReadonlyArray<string> => {
  const code = readFileSync(file, "utf8").replaceAll(/\/\*[\s\S]*?\*\//g, "")
  return Array.from(
    code.matchAll(/^(?:import|export)\b(?! type\b)(?:[^"=]*\bfrom)?\s*"([^"]+)"|\bimport\("([^"]+)"\)/gm)
  ).map(([, name, dynamic]) => (name ?? dynamic)!)
}

/** Whether a test, or a file that it imports, imports something of that kind: of a package by its name, else by its path. */
const reaches = (
  isMeant: (target: string) => boolean,
  entriesHere: ReadonlyArray<string>,
  file: string,
  seen = new Set<string>()
): boolean => {
  if (seen.has(file)) return false
  seen.add(file)
  return importsOf(file).some((name) => {
    if (!name.startsWith(".")) return isMeant(name)
    const target = join(dirname(file), name)
    if (entriesHere.includes(target)) return false
    return isMeant(target) || (!target.includes("/src/") && reaches(isMeant, entriesHere, target, seen))
  })
}

/** A package's test files that reach for something of that kind, relative to the folder of its tests. */
const thatReach = (name: Name, isMeant: (target: string) => boolean): ReadonlyArray<string> => {
  const folder = join(packages, name, "test")
  const own = entries[name].map((entry) => join(sourcesOf(name), `${entry}.ts`))
  return globSync("**/*.test.ts", { cwd: folder })
    .filter((file) => reaches(isMeant, own, join(folder, file)))
    .toSorted()
}

/** A package's test files that import its internals. For the facade, the engine is one of them. */
export const looksInside = (name: Name): ReadonlyArray<string> =>
  thatReach(name, (target) => (name === "promise" && target.startsWith("fibermeter")) || target.includes("/src/"))

/** Modules of Node that `runtimes/inside/platform.ts` gives to every host. */
export const onEveryHost: ReadonlyArray<string> = ["node:events", "node:async_hooks", "node:diagnostics_channel"]

/**
 * The facade's test files that need more of Node than `runtimes/inside/platform.ts` gives to every host, or that load
 * modules anew, which only Vitest's own module graph can.
 */
export const needsNode = (): ReadonlyArray<string> => {
  const folder = join(facade, "test")
  const reloading = globSync("**/*.test.ts", { cwd: folder }).filter((file) =>
    readFileSync(join(folder, file), "utf8").includes("vi.resetModules(")
  )
  const needing = thatReach("promise", (target) => target.startsWith("node:") && !onEveryHost.includes(target))
  return Array.from(new Set([...needing, ...reloading])).toSorted()
}

/** A plugin of Vite and of rolldown. */
export const onPublished = (published: Published) => ({
  name: "what is published, in place of the sources",
  enforce: "pre" as const,
  resolveId: (id: string, importer: string | undefined): string | undefined => {
    if (importer === undefined || !id.startsWith(".")) return undefined
    const target = join(dirname(importer), id)
    const built = builtFrom(target, published)
    if (built === undefined && target.startsWith(packages) && target.includes("/src/")) {
      throw new Error(`${importer} imports ${id}, which is no file of its own in what is published`)
    }
    return built
  }
})
