/** What a figure depends on: when, where, and which versions. */
import { readFileSync } from "node:fs"
import { cpus } from "node:os"
import { dirname, join } from "node:path"

export interface Environment {
  readonly date: string
  readonly node: string
  readonly cpu: string
  readonly versions: Readonly<Record<string, string>>
}

export const environment = (): Environment => {
  const processors = cpus()
  return {
    date: new Date().toISOString().slice(0, 16).replace("T", " "),
    node: process.version,
    cpu: `${processors.length} × ${processors[0]?.model.trim() ?? "unknown"}, ${process.platform} ${process.arch}`,
    versions: Object.fromEntries(dependencies().map((name) => [name, versionOf(name)]))
  }
}

export const describe = ({ cpu, date, node, versions }: Environment): string =>
  `${date} UTC, Node ${node}, ${cpu}; ${Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ")}`

const bench = dirname(import.meta.dirname)

const dependencies = (): ReadonlyArray<string> => Object.keys(readManifest(bench).dependencies)

interface Manifest {
  readonly name: string
  readonly version: string
  readonly dependencies: Readonly<Record<string, string>>
}

const readManifest = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest

/** Read from what is installed, not from what was requested. */
const versionOf = (name: string): string => readManifest(join(bench, "node_modules", ...name.split("/"))).version
