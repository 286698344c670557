/**
 * `npm run test:runtimes`: the facade's own tests, on every runtime that it is meant for and on the file that is published.
 *
 *     npm run test:runtimes                      all of them
 *     npm run test:runtimes -- deno chromium     these, by how their names begin
 *
 * Prints a line for each and a last one that counts. What a host leaves out is listed in `inside/leftOut.ts`, and
 * printed. All else has to be there: what Vitest finds in the same files is what has to have passed, by name.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, readFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { join, relative } from "node:path"
import { bundle, notHere, testFolder } from "./bundle.ts"
import { chromium, findOrInstall } from "./hosts/chromium.ts"
import type { Host } from "./hosts/host.ts"
import { programs } from "./hosts/program.ts"
import { manyRequests } from "./hosts/requests.ts"
import { workers } from "./hosts/workerd.ts"
import { isMeant, leftOutOf, reasons } from "./inside/leftOut.ts"
import type { Report, TestReport } from "./inside/report.ts"
import { looksInside, needsNode } from "../scripts/published.ts"

const root = join(import.meta.dirname, "..")
const folder = join(root, ".check/runtimes")

/** For one host, many times what it takes: one that hangs is not waited for. */
const limit = 300_000

/** Failures shown of one host. */
const shown = 20

const hosts: ReadonlyArray<Host> = [...programs, chromium, ...workers, ...manyRequests]

interface Test {
  readonly file: string
  readonly name: string
}

/** All tests that Vitest finds, without those that are left out here. Names may occur more than once. */
const findTests = (): ReadonlyArray<Test> => {
  const file = join(folder, "expected.json")
  const vitest = join(root, "node_modules/.bin/vitest")
  const args = ["--config=vitest.workspace.ts", "--project=promise", "--no-static-parse", "--no-isolate"]
  execFileSync(vitest, ["list", ...args, `--json=${file}`], { cwd: root, stdio: ["ignore", "ignore", "pipe"] })
  const tests = JSON.parse(readFileSync(file, "utf8")) as ReadonlyArray<Test>
  return tests
    .map(({ file, name }) => ({ file: relative(testFolder, file), name }))
    .filter(({ file }) => !notHere.includes(file))
}

const called = ({ file, name }: Test): string => `${file} > ${name}`

/** What is in one list more often than in the other. */
const missing = (from: ReadonlyArray<Test>, among: ReadonlyArray<Test>): ReadonlyArray<string> => {
  const counts = new Map<string, number>()
  for (const name of among.map(called)) counts.set(name, (counts.get(name) ?? 0) + 1)
  return from.map(called).filter((name) => {
    const count = counts.get(name) ?? 0
    counts.set(name, count - 1)
    return count <= 0
  })
}

const indented = (text: string): string => text.trimEnd().replaceAll(/^/gm, "    ")

interface Outcome {
  readonly passed: number
  readonly failed: number
  readonly lines: ReadonlyArray<string>
}

const judge = (host: Host, report: Report, expected: ReadonlyArray<Test>): Outcome => {
  const { problems, seconds, tests } = report
  const leftOut = leftOutOf(host.name).map((entry) => ({
    ...entry,
    // Of a file that is left out as a whole, Vitest alone knows the tests.
    tests: (entry.test === undefined ? expected : tests).filter((test) => isMeant(entry, test))
  }))
  const wholly = leftOut.filter(({ test }) => test === undefined).flatMap(({ tests }) => tests)
  const of = (state: TestReport["state"]) => tests.filter((test) => test.state === state)
  const passed = of("pass").length
  const skipped = of("skip").length + wholly.length
  const byThemselves = of("skip").filter((test) => !leftOut.some((entry) => isMeant(entry, test)))
  const found = [...tests, ...wholly]
  const failures = [
    ...(report.host.startsWith(host.self) ? [] : [`this is ${report.host}`]),
    ...(passed > 0 ? [] : ["no test has passed"]),
    ...problems,
    ...leftOut.filter(({ tests }) => tests.length === 0).map(({ file }) => `nothing in ${file} to leave out`),
    ...of("fail").map((test) => `${called(test)}\n${indented(test.errors.join("\n"))}`),
    ...missing(expected, found).map((name) => `has not run: ${name}`),
    ...missing(found, expected).map((name) => `Vitest does not know it: ${name}`)
  ]
  const version = host.version === undefined ? report.host : `${host.name} ${host.version()}`
  const counts = `${passed} passed, ${failures.length} failed, ${skipped} skipped`
  const notes = [
    ...leftOut.map(({ file, test, tests, without }) => {
      const which = test === undefined ? file : `${file}, ${test}`
      return `left out, ${reasons[without]}: ${tests.length} tests of ${which}`
    }),
    ...byThemselves.map((test) => `skips itself: ${called(test)}`),
    ...failures.slice(0, shown),
    ...(failures.length > shown ? [`and ${failures.length - shown} more`] : [])
  ]
  return {
    passed,
    failed: failures.length,
    lines: [`${failures.length > 0 ? "✗" : "✓"} ${version}: ${counts}, ${seconds.toFixed(1)} s`, ...notes.map(indented)]
  }
}

const run = async (host: Host, file: string, expected: ReadonlyArray<Test>): Promise<Outcome> => {
  const signal = AbortSignal.timeout(limit)
  try {
    return judge(host, await host.run(file, signal), host.tests ?? expected)
  } catch (error) {
    const why = signal.aborted ? `no end after ${limit / 1000} s` : String(error)
    return { passed: 0, failed: 1, lines: [`✗ ${host.name}: 0 passed, 1 failed`, indented(why)] }
  }
}

const prefixes = process.argv.slice(2).map((name) => name.toLowerCase())
const unknown = prefixes.find((prefix) => !hosts.some(({ name }) => name.toLowerCase().startsWith(prefix)))
if (unknown !== undefined) {
  throw new Error(`there is no runtime ${unknown}. Known: ${hosts.map(({ name }) => name).join(", ")}`)
}
const chosen = hosts.filter(
  ({ name }) => prefixes.length === 0 || prefixes.some((prefix) => name.toLowerCase().startsWith(prefix))
)

mkdirSync(folder, { recursive: true })
if (chosen.includes(chromium)) findOrInstall()
execFileSync(process.execPath, [join(root, "scripts/build.ts")], { cwd: root, stdio: "inherit" })
console.log(`not on what is published, since they look inside: ${looksInside("promise").join(", ")}`)
console.log(`not outside of Node: ${needsNode().join(", ")}`)
const expected = findTests()
const file = join(folder, "tests.mjs")
await bundle(file)

const outcomes: Array<Outcome> = []
const waiting = [...chosen]
const worker = async () => {
  for (let host = waiting.shift(); host !== undefined; host = waiting.shift()) {
    const outcome = await run(host, file, expected)
    outcomes.push(outcome)
    console.log(outcome.lines.join("\n"))
  }
}
await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker))

const passed = outcomes.reduce((sum, { passed }) => sum + passed, 0)
const failed = outcomes.reduce((sum, { failed }) => sum + failed, 0)
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
