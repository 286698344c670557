/**
 * `node scripts/addresses.ts`, a step of a release: fills in `repository`, `homepage` and `bugs` of each package that is
 * published, from `repository` in the root's `package.json`, the one place where the address stands. `homepage` may stand
 * there as well, for example the address of the site.
 */
import { globSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"

export interface Addresses {
  /** For example `"https://host.example/owner/name"`. */
  readonly repository?: string
  readonly homepage?: string
}

export interface Manifest {
  readonly private?: boolean
  readonly [field: string]: unknown
}

export const withAddresses = (manifest: Manifest, { homepage, repository }: Addresses, directory: string): Manifest => {
  if (repository === undefined || !/^https:\/\/[^/]+\/.+[^/]$/.test(repository)) {
    throw new Error('package.json at the root needs "repository", the https address of the repository')
  }
  const address = repository.replace(/\.git$/, "")
  return {
    ...manifest,
    repository: { type: "git", url: `git+${address}.git`, directory },
    homepage: homepage ?? `${address}/tree/main/${directory}#readme`,
    bugs: `${address}/issues`
  }
}

if (import.meta.main) {
  const root = join(import.meta.dirname, "..")
  const read = (path: string): Manifest => JSON.parse(readFileSync(join(root, path), "utf8")) as Manifest
  const addresses = read("package.json") as Addresses
  for (const path of globSync("packages/*/package.json", { cwd: root })) {
    const manifest = read(path)
    if (manifest.private === true) continue
    const filled = withAddresses(manifest, addresses, dirname(path))
    writeFileSync(join(root, path), `${JSON.stringify(filled, undefined, 2)}\n`)
  }
}
