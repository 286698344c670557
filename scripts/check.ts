/**
 * `npm test`: runs all checks, also after a failure, and prints a last line with their number.
 *
 * A check counts as one. The tests that a Vitest run reports count one by one, and the run itself (its coverage, and
 * that nothing was left unhandled) as one more.
 */
import { spawn } from "node:child_process"
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync
} from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { availableParallelism, tmpdir } from "node:os"
import { delimiter, dirname, join, relative } from "node:path"
import { rolldown } from "rolldown"
import { extract } from "./doc-examples.ts"
import { looksInside } from "./published.ts"

interface Outcome {
  readonly passed: number
  readonly failed: number
  readonly note: string
  readonly output: string
}
interface Check {
  readonly name: string
  readonly run: () => Promise<Outcome>
}

const root = join(import.meta.dirname, "..")
const reports = join(root, ".check")
const siteFolder = join(root, "site")
const scratch = await mkdtemp(join(tmpdir(), "fibermeter-trial-"))
/** What is published of both packages, unpacked where `effect` is found as it is from the sources. */
const unpacked = join(reports, "published")
const tarballs = {
  fibermeter: join(scratch, "fibermeter.tgz"),
  promise: join(scratch, "promise.tgz"),
  redis: join(scratch, "redis.tgz")
}

// --- the checks ------------------------------------------------------------------------------------------------------

const sources: ReadonlyArray<Check> = [
  command("types: what is published, by itself (this is the build)", ["node", "scripts/build.ts"]),
  command("types: sources, tests, examples, benchmarks, scripts", ["tsc", "-p", "tsconfig.json"]),
  {
    name: "types: the documentation's examples",
    run: async () => {
      extract(root)
      const { code, output } = await execute(["tsc", "-p", "scripts/tsconfig.docs.json"], root)
      return outcome(code === 0, output)
    }
  },
  command("lint", ["oxlint", "--type-aware", "--deny-warnings"]),
  command("lint: Effect", ["effect-tsgo", "diagnostics", "--project", "tsconfig.json", "--format", "text"]),
  command("format", ["oxfmt", "--check"]),
  command("unused files, exports and dependencies", ["knip"])
]

function isThere(program: string): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((folder) => existsSync(join(folder, program)))
}
const hasRedis = isThere("redis-server")
// As `examples/database/cluster.ts` looks for it.
const hasPostgres = globSync("/usr/lib/postgresql/*/bin/initdb").length > 0

// Coverage is counted over these alone: an example that runs through a line does not assert what the line does.
const tests: ReadonlyArray<Check> = [
  vitest(
    "tests of the packages, covering every line and branch",
    ["fibermeter", "promise", "redis"],
    ["--coverage"],
    {},
    hasRedis ? "" : "without those of the script for Redis, which need redis-server: apt-get install redis-server"
  ),
  vitest(
    "tests of types, documentation, examples, scripts and the site's playground",
    ["types", "docs", "examples", "scripts", "site"],
    [],
    {},
    [
      hasPostgres ? "" : "without the one that fills PostgreSQL, which has to be installed: apt-get install postgresql",
      hasRedis
        ? ""
        : "without those of the demo's four processes, which need redis-server: apt-get install redis-server"
    ]
      .filter((remark) => remark !== "")
      .join("; ")
  )
]

/** The build fails on dead links. */
const site: ReadonlyArray<Check> = [
  command("the site: types of its components", ["pnpm", "run", "types"], siteFolder),
  command("the site: its pages, without dead links", ["pnpm", "run", "build"], siteFolder)
]

// Chromium is installed where it is missing, but on the machine of a developer it is left to them.
const siteInBrowser: ReadonlyArray<Check> =
  isThere("chromium") || process.env["CI"] === "true" ? [vitest("the site in Chromium", ["site in Chromium"])] : []

const packing: ReadonlyArray<Check> = Object.entries(tarballs).flatMap(([name, tarball]) => [
  command(`pack ${name}`, ["pnpm", "pack", "--out", tarball], join(root, "packages", name)),
  {
    name: `unpack ${name}`,
    run: async () => {
      const folder = join(unpacked, name)
      rmSync(folder, { recursive: true, force: true })
      mkdirSync(folder, { recursive: true })
      const { code, output } = await execute(["tar", "-xzf", tarball, "--strip-components=1", "-C", folder], root)
      return outcome(code === 0, output)
    }
  }
])

const packages: ReadonlyArray<Check> = [
  ...Object.entries(tarballs).map(([name, tarball]) =>
    command(`publint ${name}`, ["publint", "run", tarball, "--strict"])
  ),
  command("are the types of fibermeter right", ["attw", tarballs.fibermeter, "--profile", "esm-only", "--no-color"]),
  command("are the types of redis right", ["attw", tarballs.redis, "--profile", "esm-only", "--no-color"]),
  // Of the facade for `require` as well, and where TypeScript resolves as Node 10 did, as under ts-jest.
  command("are the types of promise right", ["attw", tarballs.promise, "--no-color"]),
  {
    name: "the types of @fibermeter/promise stand by themselves",
    run: async () => {
      const leaks = foreignTypes(join(unpacked, "promise/dist/index.d.cts"))
      return outcome(leaks.length === 0, leaks.join("\n"))
    }
  },
  { name: "@fibermeter/promise is small, and needs no other package", run: isLight },
  { name: "a bundle carries only what its program imports", run: isShaken }
]

const jsr: ReadonlyArray<Check> = [command("JSR would take both packages", ["node", "scripts/jsr.ts"])]

const installing: ReadonlyArray<Check> = [{ name: "install all from their tarballs", run: install }]

/** The versions, beside the machine's own, on which `require` must work. */
const nodes = ["22", "24", "26"].map((version) => ({
  version,
  node: join(root, `runtimes/node_modules/node-${version}/bin/node`)
}))

/** How TypeScript finds modules where it knows no `require()` of ES modules: `node10` is what ts-jest has by default. */
const older = {
  node16: { module: "node16", moduleResolution: "node16" },
  node10: { module: "commonjs", moduleResolution: "node10", ignoreDeprecations: "5.0" }
}

/** `lib` as create-vite's templates have it. The compiler must find no errors in our types, with and without `skipLibCheck`. */
const es2023 = [true, false].map((skipLibCheck) => ({
  skipLibCheck,
  tsconfig: `tsconfig.es2023-${skipLibCheck ? "skipping" : "checking"}.json`
}))

const compilers = { "7": "typescript", "5.9": "typescript-5.9" }

const jest = join(root, "node_modules/jest/bin/jest.js")

const trial: ReadonlyArray<Check> = [
  command("a JavaScript program on the installed packages", ["node", "program.js"], scratch),
  ...nodes.map(({ version, node }) =>
    command(`a CommonJS program on the installed packages, Node ${version}`, [node, "program.cjs"], scratch)
  ),
  ...nodes.flatMap(({ version, node }) => [
    command(`a Jest test on the installed packages, Node ${version}`, [node, jest, "--rootDir", scratch], scratch),
    command(
      `a Jest test on the installed packages, Node ${version} with modules`,
      [node, "--experimental-vm-modules", jest, "--rootDir", scratch],
      scratch
    )
  ]),
  command("a TypeScript program on the installed packages, TypeScript 7", ["tsc", "-p", "."], scratch),
  command("a TypeScript program on the installed packages, TypeScript 5.9", [
    "node",
    join(root, "node_modules/typescript-5.9/bin/tsc"),
    "-p",
    scratch
  ]),
  ...Object.entries(compilers).flatMap(([version, compiler]) =>
    es2023.map(({ skipLibCheck, tsconfig }) =>
      command(
        `the types of @fibermeter/promise with lib ES2023, TypeScript ${version}, ${skipLibCheck ? "with" : "without"} skipLibCheck`,
        ["node", join(root, "node_modules", compiler, "bin/tsc"), "-p", join(scratch, tsconfig)]
      )
    )
  ),
  ...Object.keys(older).map((resolution) =>
    command(`a CommonJS module in TypeScript 5.9 on the installed packages, resolved as by ${resolution}`, [
      "node",
      join(root, "node_modules/typescript-5.9/bin/tsc"),
      "-p",
      join(scratch, `tsconfig.${resolution}.json`)
    ])
  )
]

const published: ReadonlyArray<Check> = [
  vitest(
    "tests of the packages, on what is published",
    ["published fibermeter", "published promise"],
    ["--config", "scripts/published.config.ts"],
    { FIBERMETER_PUBLISHED: unpacked },
    `without ${[...looksInside("fibermeter"), ...looksInside("promise")].join(", ")}, which look inside`
  )
]

// --- how they run ----------------------------------------------------------------------------------------------------

/** Resolves to the exit code and what was printed. */
function execute(
  command: ReadonlyArray<string>,
  cwd: string,
  variables: NodeJS.ProcessEnv = {}
): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    const [file, ...args] = command as [string, ...Array<string>]
    const env = {
      ...process.env,
      ...variables,
      PATH: [join(root, "node_modules/.bin"), process.env["PATH"]].join(delimiter),
      ...(process.stdout.isTTY ? { FORCE_COLOR: "1" } : { NO_COLOR: "1" })
    }
    const child = spawn(file, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text))
    child.on("error", (error) => resolve({ code: 1, output: String(error) }))
    child.on("close", (code) => resolve({ code: code ?? 1, output }))
  })
}

function outcome(ok: boolean, output: string): Outcome {
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, note: "", output: ok ? "" : output }
}

function command(name: string, args: ReadonlyArray<string>, cwd = root): Check {
  return {
    name,
    run: async () => {
      const { code, output } = await execute(args, cwd)
      return outcome(code === 0, output)
    }
  }
}

function vitest(
  name: string,
  projects: ReadonlyArray<string>,
  args: ReadonlyArray<string> = [],
  variables: NodeJS.ProcessEnv = {},
  remark = ""
): Check {
  return {
    name,
    run: async () => {
      const file = join(reports, `${projects[0]!.replaceAll(" ", "-")}.json`)
      rmSync(file, { force: true })
      const { code, output } = await execute(
        [
          "vitest",
          "run",
          ...projects.map((project) => `--project=${project}`),
          "--reporter=default",
          "--reporter=json",
          `--outputFile.json=${file}`,
          ...args
        ],
        root,
        variables
      )
      if (!existsSync(file)) return outcome(false, output)
      const report = JSON.parse(readFileSync(file, "utf8")) as {
        readonly numPassedTests: number
        readonly numFailedTests: number
        readonly numTotalTests: number
      }
      const { numPassedTests: passed, numFailedTests: failed, numTotalTests: total } = report
      const itself = code === 0 && passed > 0
      const skipped = total - passed - failed
      return {
        passed: passed + (itself ? 1 : 0),
        failed: failed + (itself || failed > 0 ? 0 : 1),
        note: [
          `${passed} tests`,
          ...(skipped > 0 ? [`${skipped} skipped`] : []),
          ...(remark === "" ? [] : [remark])
        ].join(", "),
        output: itself ? "" : output
      }
    }
  }
}

/** Imports of anything but the package's own files, from what its types reach. */
function foreignTypes(file: string, seen = new Set<string>()): Array<string> {
  if (seen.has(file)) return []
  seen.add(file)
  const declarations = readFileSync(file, "utf8").replaceAll(/\/\*[\s\S]*?\*\//g, "")
  const imports = declarations.matchAll(/(?:\bfrom|\bimport\(?)\s*"([^"]+)"/g)
  return Array.from(imports, ([, name]) => name!).flatMap((name) =>
    name.startsWith(".")
      ? foreignTypes(join(dirname(file), name.replace(/\.[jt]s$/, ".d.ts")), seen)
      : [`${relative(root, file)}: ${name}`]
  )
}

/**
 * Names of our classes that a program carries though it imports nothing that needs them: in one published file, any
 * statement with a side effect keeps what it mentions in every bundle.
 */
async function isShaken(): Promise<Outcome> {
  const classesOf = async (name: string, names: string): Promise<ReadonlyArray<string>> => {
    const published = join(unpacked, name, "dist/index.js")
    const entry = "\0entry.js"
    const bundle = await rolldown({
      input: entry,
      external: /^effect\//,
      plugins: [
        {
          name: "entry",
          resolveId: (id) => (id === entry ? entry : undefined),
          load: (id) => (id === entry ? `export ${names} from ${JSON.stringify(published)}` : undefined)
        }
      ]
    })
    const { output } = await bundle.generate({ format: "es" })
    await bundle.close()
    return Array.from(output[0].code.matchAll(/^(?:var|class) (\w+)/gm), ([, name]) => name!)
  }
  const expected: Readonly<Record<string, Readonly<Record<string, ReadonlyArray<string>>>>> = {
    promise: {
      "{ createMeter }": ["BaseMeter", "MeterLimiter", "MeterRun", "Retries", "Run", "SetQueue", "SharedLimiter"],
      "{ runAll }": ["Retries", "Run"],
      "{ retryAfter }": []
    },
    fibermeter: {
      "{ Meter }": ["FiberRequest", "SetQueue", "SharedLimiter"],
      "{ runAll }": ["Run"]
    }
  }
  const checks = Object.entries(expected).flatMap(([name, imports]) => {
    const telling = Array.from(new Set(Object.values(imports).flat()))
    return Object.entries(imports).map(async ([names, classes]) => {
      const carried = await classesOf(name, names)
      const wrong = telling.filter((each) => carried.includes(each) !== classes.includes(each))
      return wrong.map((each) => `${name} ${names} ${carried.includes(each) ? "carries" : "lacks"} ${each}`)
    })
  })
  const problems = (await Promise.all(checks)).flat()
  return outcome(problems.length === 0, problems.join("\n"))
}

/** The most bytes that an installed `@fibermeter/promise` may take. */
const mostBytes = 500_000

async function isLight(): Promise<Outcome> {
  const folder = join(unpacked, "promise")
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Record<string, unknown>
  const needs = ["dependencies", "peerDependencies", "optionalDependencies"].filter((key) => key in manifest)
  const bytes = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
  const problems = [
    ...needs.map((key) => `package.json has ${key}`),
    ...(bytes > mostBytes ? [`${bytes} bytes, where ${mostBytes} are allowed`] : [])
  ]
  return outcome(problems.length === 0, problems.join("\n"))
}

/** A project of its own, as a user would set it up: npm, the tarballs, and the strictest compiler settings. */
async function install(): Promise<Outcome> {
  const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    readonly devDependencies: Record<string, string>
  }
  const manifest = {
    private: true,
    type: "module",
    dependencies: {
      "@fibermeter/promise": `file:${tarballs.promise}`,
      "@fibermeter/redis": `file:${tarballs.redis}`,
      fibermeter: `file:${tarballs.fibermeter}`,
      effect: devDependencies["effect"]
    }
  }
  const compilerOptions = {
    target: "ES2023",
    lib: ["ES2024", "ESNext.Disposable", "DOM"],
    types: [],
    module: "NodeNext",
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    noEmit: true
  }
  writeFileSync(join(scratch, "package.json"), JSON.stringify(manifest))
  const configure = (name: string, options: object, include: ReadonlyArray<string>): void =>
    writeFileSync(join(scratch, name), JSON.stringify({ compilerOptions: { ...compilerOptions, ...options }, include }))
  configure("tsconfig.json", {}, ["program.ts", "program.cts"])
  for (const [resolution, options] of Object.entries(older)) {
    configure(`tsconfig.${resolution}.json`, options, ["program.cts"])
  }
  for (const { skipLibCheck, tsconfig } of es2023) {
    configure(tsconfig, { lib: ["ES2023", "DOM"], skipLibCheck }, ["es2023.ts"])
  }
  for (const file of readdirSync(join(root, "scripts/trial"))) {
    copyFileSync(join(root, "scripts/trial", file), join(scratch, file))
  }
  const { code, output } = await execute(["npm", "install", "--prefer-offline", "--no-audit", "--no-fund"], scratch)
  return outcome(code === 0, output)
}

/** Runs checks as wide as the machine, and prints each as it ends, in their order. */
async function runAll(checks: ReadonlyArray<Check>, width: number): Promise<Array<Outcome>> {
  const waiting = checks.map((check, index) => ({ check, index }))
  const done: Array<{ readonly line: string; readonly outcome: Outcome } | undefined> = []
  let printed = 0
  const worker = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { check, index } = next
      const began = performance.now()
      const result = await check.run().catch((error: unknown) => outcome(false, String(error)))
      const note = result.note === "" ? "" : `${result.note}, `
      const seconds = ((performance.now() - began) / 1000).toFixed(1)
      done[index] = { line: `${result.failed > 0 ? "✗" : "✓"} ${check.name} (${note}${seconds} s)`, outcome: result }
      for (let entry = done[printed]; entry !== undefined; entry = done[++printed]) {
        console.log(entry.line)
        if (entry.outcome.output !== "") console.log(entry.outcome.output.trimEnd().replace(/^/gm, "    "))
      }
    }
  }
  await Promise.all(Array.from({ length: width }, worker))
  return done.map((entry) => entry!.outcome)
}

// --- all of it -------------------------------------------------------------------------------------------------------

mkdirSync(reports, { recursive: true })
const width = Math.min(2, availableParallelism())
const outcomes = [
  ...(await runAll(sources, width)),
  // One at a time: some of these watch the clock, and each uses every core by itself.
  ...(await runAll(tests, 1)),
  ...(await runAll(site, width)),
  ...(await runAll(siteInBrowser, 1)),
  ...(await runAll(packing, 1)),
  ...(await runAll(packages, width)),
  ...(await runAll(jsr, 1)),
  ...(await runAll(installing, 1)),
  ...(await runAll(trial, width)),
  ...(await runAll(published, 1))
]
await rm(scratch, { recursive: true, force: true })

const passed = outcomes.reduce((sum, { passed }) => sum + passed, 0)
const failed = outcomes.reduce((sum, { failed }) => sum + failed, 0)
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
