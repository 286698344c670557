/**
 * What it takes to run the tests of the sources on what is published: an import of a source becomes one of the file that
 * was built from it. Core keeps its modules. The facade is one file, so that a test which reaches behind `index.ts`, or
 * needs a helper that does, has nothing to look at.
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

/** The published file that was made of a source; none, where that is no file of its own. */
const builtFrom = (source: string, published: Published): string | undefined => {
  const core = join(packages, "fibermeter/src/")
  if (source.startsWith(core)) {
    return join(published.fibermeter, "dist", source.slice(core.length).replace(/\.ts$/, ".js"))
  }
  return source === join(facade, "src/index.ts") ? join(published.promise, "dist/index.js") : undefined
}

const importsOf = (file: string): ReadonlyArray<string> => {
  const code = readFileSync(file, "utf8").replaceAll(/\/\*[\s\S]*?\*\//g, "")
  return Array.from(
    code.matchAll(/^(?:import|export)\b(?! type\b)(?:[^"=]*\bfrom)?\s*"([^"]+)"|\bimport\("([^"]+)"\)/gm)
  ).map(([, name, dynamic]) => (name ?? dynamic)!)
}

/** Whether a test, or a file that it imports, imports something of that kind: of a package by its name, else by its path. */
const reaches = (isMeant: (target: string) => boolean, file: string, seen = new Set<string>()): boolean => {
  if (seen.has(file)) return false
  seen.add(file)
  return importsOf(file).some((name) => {
    if (!name.startsWith(".")) return isMeant(name)
    const target = join(dirname(file), name)
    if (target === join(facade, "src/index.ts")) return false
    return isMeant(target) || (!target.includes("/src/") && reaches(isMeant, target, seen))
  })
}

/** The facade's test files that reach for something of that kind, relative to the folder of its tests. */
const thatReach = (isMeant: (target: string) => boolean): ReadonlyArray<string> => {
  const folder = join(facade, "test")
  return globSync("**/*.test.ts", { cwd: folder })
    .filter((file) => reaches(isMeant, join(folder, file)))
    .toSorted()
}

/** The facade's test files that look at the engine inside. */
export const looksInside = (): ReadonlyArray<string> =>
  thatReach((target) => target.startsWith("fibermeter") || target.includes("/src/"))

/**
 * The facade's test files that need more of Node than `runtimes/inside/platform.ts` gives to every host, or that load
 * modules anew, which only Vitest's own module graph can.
 */
export const needsNode = (): ReadonlyArray<string> => {
  const folder = join(facade, "test")
  const reloading = globSync("**/*.test.ts", { cwd: folder }).filter((file) =>
    readFileSync(join(folder, file), "utf8").includes("vi.resetModules(")
  )
  const needing = thatReach(
    (target) => target.startsWith("node:") && target !== "node:events" && target !== "node:async_hooks"
  )
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
    if (built === undefined && target.startsWith(join(facade, "src/"))) {
      throw new Error(`${importer} imports ${id}, which is no file of its own in what is published`)
    }
    return built
  }
})
