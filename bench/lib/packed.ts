/** The packages as they are published: built, packed, and installed by npm in projects that have nothing else. */
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"

const execute = promisify(execFile)

const root = join(import.meta.dirname, "../..")

/** Builds what is published of both packages, into their `dist`. */
export const build = async (): Promise<void> => {
  const path = [join(root, "node_modules/.bin"), process.env["PATH"]].join(":")
  await execute(process.execPath, [join(root, "scripts/build.ts")], { cwd: root, env: { ...process.env, PATH: path } })
}

/** A folder that is gone afterwards. */
export const withScratch = async <A>(use: (folder: string) => Promise<A>): Promise<A> => {
  const folder = await mkdtemp(join(tmpdir(), "fibermeter-bench-"))
  try {
    return await use(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Packs one of ours, which has to be built, and returns the tarball. */
export const pack = async (name: "fibermeter" | "promise", folder: string): Promise<string> => {
  const tarball = join(folder, `${name}.tgz`)
  await execute(join(root, "node_modules/.bin/pnpm"), ["pack", "--out", tarball], { cwd: join(root, "packages", name) })
  return tarball
}

/** Makes a project that depends on that, by name and version or tarball, and installs it. */
export const install = async (project: string, dependencies: Readonly<Record<string, string>>): Promise<void> => {
  await mkdir(project, { recursive: true })
  await writeFile(join(project, "package.json"), JSON.stringify({ private: true, type: "module", dependencies }))
  await execute("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", "--omit=dev"], { cwd: project })
}

export interface Installed {
  readonly packages: number
  readonly bytes: number
}

/** What an install has brought: packages, and the bytes of their files. */
export const installed = async (project: string): Promise<Installed> => {
  const modules = join(project, "node_modules")
  const lock = JSON.parse(await readFile(join(modules, ".package-lock.json"), "utf8")) as {
    readonly packages: Readonly<Record<string, unknown>>
  }
  const folders = Object.keys(lock.packages)
  const bytes = await Promise.all(folders.map((folder) => bytesOf(join(project, folder))))
  return { packages: folders.length, bytes: bytes.reduce((sum, each) => sum + each, 0) }
}

/** Without packages inside, which are counted by themselves. */
const bytesOf = async (folder: string): Promise<number> => {
  const entries = (await readdir(folder, { withFileTypes: true })).filter(({ name }) => name !== "node_modules")
  const bytes = await Promise.all(
    entries.map(async (entry) => {
      const path = join(folder, entry.name)
      return entry.isDirectory() ? bytesOf(path) : (await stat(path)).size
    })
  )
  return bytes.reduce((sum, each) => sum + each, 0)
}
