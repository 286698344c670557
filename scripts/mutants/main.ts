/**
 * `npm run mutants`: mutation testing. Samples mutants of the sources (one small change each) and reports how many of them
 * the tests catch.
 *
 * A coverage run finds out which blocks of code each test executes. For each mutant only the tests run that execute its
 * block, up to the first failure: first the fast tests, then the slow ones. A mutant is caught, too, if a test takes much
 * longer than in the coverage run. The mutants are written to a copy of the repository.
 *
 * StrykerJS was tried first. It instruments all mutants at once, which made the run of all tests more than twice as slow,
 * and it has no sampling.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { cpSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, relative } from "node:path"
import { parseArgs } from "node:util"
import { mutate, type Mutant, parse, sample } from "./mutate.ts"
import type { Reply, Request, Step, Test } from "./tests.ts"

const { values } = parseArgs({
  options: { seed: { type: "string", default: "1" }, count: { type: "string", default: "300" } }
})
const root = join(import.meta.dirname, "../..")
const copy = mkdtempSync(join(tmpdir(), "fibermeter-mutants-"))

/** A test that takes longer is slow. */
const fastMillis = 100
/** How long the tests of a file may take: a multiple of their time in the coverage run, plus a constant. */
const timeout = { factor: 4, millis: 15_000 }

// --- the process that runs the tests ---------------------------------------------------------------------------------

let child: ChildProcess | undefined

function end(): void {
  if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null)
    process.kill(-child.pid, "SIGKILL")
  child = undefined
}

/** Sends a request. Resolves to `undefined` if a step takes longer than its limit. */
async function ask(request: Request, limits: ReadonlyArray<number>): Promise<Reply | undefined> {
  const running = (child ??= await start())
  return new Promise((resolve, reject) => {
    let step = 0
    let timer: NodeJS.Timeout | undefined
    const stop = (settle: () => void): void => {
      clearTimeout(timer)
      running.removeAllListeners("message").removeAllListeners("exit")
      settle()
    }
    const rearm = (): void => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        stop(() => resolve(undefined))
        end()
      }, limits[step++])
    }
    running.on("exit", () => stop(() => reject(new Error("the process that runs the tests has ended"))))
    running.on("message", (reply: Reply) => {
      if (reply.type === "step") rearm()
      else stop(() => resolve(reply))
    })
    running.send(request)
    if (request.type === "every test") rearm()
  })
}

/** Starts the process in its own process group, so that its workers can be killed with it. */
function start(): Promise<ChildProcess> {
  const started = spawn(process.execPath, [join(copy, "scripts/mutants/tests.ts")], {
    cwd: copy,
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    detached: true
  })
  return new Promise((resolve, reject) => {
    started.once("message", () => resolve(started.removeAllListeners("exit")))
    started.once("exit", () => reject(new Error("the process that runs the tests did not start")))
  })
}

// --- the copy --------------------------------------------------------------------------------------------------------

function copyRepository(): void {
  const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"], {
    cwd: root,
    encoding: "utf8"
  })
  for (const file of files.trim().split("\n")) {
    if (globSync(file, { cwd: root }).length === 0) continue
    mkdirSync(dirname(join(copy, file)), { recursive: true })
    cpSync(join(root, file), join(copy, file))
  }
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"))
  // These links are relative, so that the copy of the facade imports the copy of the core.
  for (const modules of globSync("packages/*/node_modules", { cwd: root })) {
    cpSync(join(root, modules), join(copy, modules), { recursive: true, verbatimSymlinks: true })
  }
}

const sources = new Map<string, string>()
const parsed = new Map<string, ReturnType<typeof parse>>()
/** The number of the first block of a file. */
const firstBlock = new Map<string, number>()

function readSources(): void {
  let blocks = 0
  for (const file of globSync("packages/*/src/**/*.ts", { cwd: copy }).toSorted()) {
    const code = readFileSync(join(copy, file), "utf8")
    const source = parse(file, code)
    sources.set(file, code)
    parsed.set(file, source)
    firstBlock.set(file, blocks)
    blocks += source.blocks.length
  }
}

/** The coverage run: all tests with the blocks that each of them executes. Throws if a test fails without a mutant. */
async function findTests(): Promise<ReadonlyArray<Test>> {
  for (const [file, code] of sources) {
    let instrumented = ""
    let from = 0
    for (const [index, offset] of parsed.get(file)!.blocks.entries()) {
      instrumented += `${code.slice(from, offset)}(globalThis.reached ??= [])[${firstBlock.get(file)! + index}] = true;`
      from = offset
    }
    writeFileSync(join(copy, file), instrumented + code.slice(from))
  }
  const covered = await runAll(true)
  end()
  for (const [file, code] of sources) writeFileSync(join(copy, file), code)
  // Instrumentation may fail tests that count work. Without it, they have to pass.
  const failing = covered.filter(({ passed }) => !passed)
  if (failing.length > 0) {
    const failed = new Set((await runAll(false)).filter(({ passed }) => !passed).map(({ id }) => id))
    const names = failing.filter(({ id }) => failed.has(id)).map(({ name }) => name)
    if (names.length > 0) throw new Error(`these tests fail without a mutant:\n${names.join("\n")}`)
  }
  return covered
}

async function runAll(covering: boolean): Promise<ReadonlyArray<Test>> {
  const reply = await ask({ type: "every test", covering }, [1_200_000])
  if (reply?.type !== "tests") throw new Error("the tests do not end")
  return reply.tests
}

// --- the mutants ------------------------------------------------------------------------------------------------------

const packageOf = (path: string): string => relative(copy, join(copy, path)).split("/")[1]!

/** The tests by file, in the order in which they run: those of the same package first, and the fastest of these first. */
function stepsFor(mutant: Mutant, tests: ReadonlyArray<Test>): Array<{ readonly step: Step; readonly millis: number }> {
  const files = Map.groupBy(tests, ({ module }) => module)
  const own = (module: string): number => (packageOf(relative(copy, module)) === packageOf(mutant.file) ? 0 : 1)
  return Array.from(files, ([module, tests]) => ({
    step: { project: tests[0]!.project, module, tests: tests.map(({ id }) => id) },
    millis: tests.reduce((sum, { millis }) => sum + millis, 0)
  })).toSorted((a, b) => own(a.step.module) - own(b.step.module) || a.millis - b.millis)
}

/** Returns what catches the mutant, or `undefined` if all of the tests pass. */
async function caughtBy(mutant: Mutant, tests: ReadonlyArray<Test>): Promise<string | undefined> {
  if (tests.length === 0) return undefined
  const steps = stepsFor(mutant, tests)
  const file = join(copy, mutant.file)
  const original = sources.get(mutant.file)!
  const reply = await ask(
    { type: "steps", file, code: mutate(original, mutant), steps: steps.map(({ step }) => step) },
    steps.map(({ millis }) => millis * timeout.factor + timeout.millis)
  )
  if (reply?.type === "done") return reply.caughtBy
  writeFileSync(file, original)
  return "a test that does not end"
}

function clear(): void {
  end()
  rmSync(copy, { recursive: true, force: true })
}
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    clear()
    process.exit(1)
  })
}

const shown = ({ file, line, text, replacement }: Mutant): string => {
  const brief = (code: string): string => code.replaceAll(/\s+/g, " ").slice(0, 60)
  return `${file}:${line}  ${brief(text)}  →  ${brief(replacement)}`
}

try {
  copyRepository()
  readSources()
  const all = Array.from(parsed.values()).flatMap(({ mutants }) => mutants)
  const chosen = sample(all, sources, values.seed, Number(values.count))
  console.log(`${chosen.length} of ${all.length} mutants in ${sources.size} files, seed ${values.seed}`)

  const tests = await findTests()
  const reaching: Array<Array<Test> | undefined> = []
  for (const test of tests) for (const block of test.reached) (reaching[block] ??= []).push(test)
  // These tests start processes, in which coverage is not recorded.
  const elsewhere = tests.filter(({ reached }) => reached.length === 0)
  console.log(`${tests.length} tests, ${elsewhere.length} of them in separate processes`)

  const testsOfBlock = (mutant: Mutant) => reaching[firstBlock.get(mutant.file)! + mutant.block] ?? []
  const rounds: ReadonlyArray<(mutant: Mutant) => ReadonlyArray<Test>> = [
    (mutant) => testsOfBlock(mutant).filter(({ millis }) => millis < fastMillis),
    (mutant) => testsOfBlock(mutant).filter(({ millis }) => millis >= fastMillis),
    () => elsewhere
  ]
  let survivors = chosen
  for (const testsOf of rounds) {
    const uncaught: Array<Mutant> = []
    for (const mutant of survivors) {
      const test = await caughtBy(mutant, testsOf(mutant))
      if (test === undefined) uncaught.push(mutant)
      else console.log(`${shown(mutant)}  is caught by ${test}`)
    }
    survivors = uncaught
    console.log(`${chosen.length - survivors.length} of ${chosen.length} caught`)
  }

  console.log("\nSurvivors:")
  for (const mutant of survivors.toSorted((a, b) => (shown(a) < shown(b) ? -1 : 1))) console.log(shown(mutant))
  console.log("")
  for (const [name, mutants] of Map.groupBy(chosen, ({ file }) => packageOf(file))) {
    const survived = survivors.filter(({ file }) => packageOf(file) === name).length
    console.log(`${name}: ${mutants.length - survived} of ${mutants.length} caught`)
  }
} finally {
  clear()
}
