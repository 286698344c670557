/**
 * Runs the facade's tests inside whatever host has loaded this.
 *
 * The runner, `expect`, the hooks, tables and faked timers are Vitest's own: those parts of it know no host, as it runs
 * in browsers as well, so that a test means here what it means in `npm test`. What is left to do is to be their host,
 * which is this file. With other test libraries that run everywhere, the tests would have to be written twice.
 */
import type { RunnerTask, RunnerTestCase, SerializedConfig } from "vitest"
import { isMeant, leftOutOf } from "./leftOut.ts"
import type { Report, TestReport } from "./report.ts"

/** By path relative to the folder of the tests, what evaluates a test file. */
export type Files = Readonly<Record<string, () => Promise<unknown>>>

const canaries = "canaries"

/** How long a test takes is no part of any of their claims. */
const limit = 60_000

/** What there is of Vitest's configuration in its runner. */
const config = {
  root: "/",
  name: "promise",
  setupFiles: [],
  sequence: { hooks: "stack", setupFiles: "parallel", seed: 0 },
  maxConcurrency: 1,
  testTimeout: limit,
  hookTimeout: limit,
  retry: 0,
  tags: [],
  strictTags: true,
  allowOnly: false,
  passWithNoTests: false,
  // Vitest's default, which shows in names.
  taskTitleValueFormatTruncate: 40,
  expect: { requireAssertions: true },
  fakeTimers: {}
} as Partial<SerializedConfig> as SerializedConfig

/** What the host calls itself. */
const self = (): string => {
  const { Bun, Deno, navigator, process } = globalThis as {
    readonly Bun?: { readonly version: string }
    readonly Deno?: { readonly version: { readonly deno: string } }
    readonly navigator?: { readonly userAgent?: string }
    readonly process?: { readonly version?: string }
  }
  if (Bun !== undefined) return `Bun ${Bun.version}`
  if (Deno !== undefined) return `Deno ${Deno.version.deno}`
  const agent = navigator?.userAgent ?? ""
  if (agent === "Cloudflare-Workers") return "workerd"
  const chromium = /Chrome\/(\d+)/.exec(agent)
  if (chromium !== null) return `Chromium ${chromium[1]}`
  return `Node ${process?.version?.slice(1)}`
}

/** `name` is who the host is in the list of what is left out. */
export const run = async (name: string, files: Files): Promise<Report> => {
  // Found by Vitest's own modules as they are evaluated, which has to come after this. It cannot come at the start of
  // the program either: workerd allows no timers there.
  Object.assign(globalThis, { __vitest_worker__: { config, ctx: {}, environment: { name } } })
  const { setSafeTimers, startTests } = await import("vitest/internal/browser")
  setSafeTimers()
  const { expect, vi } = await import("vitest")
  const { has, process } = await import("./platform.ts")

  const problems: Array<string> = []
  const left = leftOutOf(name)
  for (const { file, without } of left) {
    if (has[without]()) problems.push(`${file} need not be left out: ${name} has what it needs`)
  }

  let current: RunnerTestCase | undefined
  let strays: Array<{ readonly during: RunnerTestCase | undefined; readonly reason: unknown }> = []
  const note = (reason: unknown) => {
    strays.push({ during: current, reason })
  }
  process.on("unhandledRejection", note)
  process.on("uncaughtException", note)

  const runner: Parameters<typeof startTests>[1] = {
    config,
    importFile: (file) => {
      return file === canaries ? import("./canaries.ts") : files[file]!()
    },
    onBeforeRunTask: (test) => {
      current = test
      const named = { file: test.file.filepath, name: test.fullTestName }
      if (left.some((entry) => isMeant(entry, named))) test.mode = "skip"
    },
    onBeforeTryTask: (test) => {
      expect.setState({ assertionCalls: 0, currentTestName: test.fullTestName })
    },
    onAfterTryTask: () => {
      if (expect.getState().assertionCalls === 0) throw new Error("expected any number of assertion, but got none")
    }
  }
  const runFiles = async (names: ReadonlyArray<string>): Promise<ReadonlyArray<TestReport>> => {
    const tests: Array<TestReport> = []
    // One file after the other, collected when the one before it is over: they share the host's timers.
    for (const file of names) {
      tests.push(...(await startTests([file], runner)).flatMap(reports))
      // A failing test can leave a fake clock. The next file must start without it.
      vi.resetConfig()
      vi.restoreAllMocks()
      vi.useRealTimers()
    }
    return tests
  }

  problems.push(...(await checkCanaries(await runFiles([canaries]))))
  const { stray } = await import("./canaries.ts")
  if (strays.length !== 1 || strays[0]?.reason !== stray) problems.push("an unhandled rejection goes unnoticed")
  strays = []

  const began = Date.now()
  const tests = await runFiles(
    Object.keys(files).filter((file) => !left.some((entry) => entry.file === file && entry.test === undefined))
  )
  const seconds = (Date.now() - began) / 1000
  for (const { during, reason } of strays) {
    // Most test files watch for such themselves: the test has failed by it then.
    if (during?.result?.state !== "fail") problems.push(`unhandled, during ${during?.fullTestName}: ${String(reason)}`)
  }
  return { host: self(), tests, problems, seconds }
}

const reports = (task: RunnerTask): ReadonlyArray<TestReport> => {
  const { result } = task
  const errors = (result?.errors ?? []).map(({ message }) => message)
  const own = { file: task.file.filepath, name: task.fullTestName ?? task.name, errors }
  if (task.type === "test") {
    // Whatever has neither passed nor been left out has failed, not run or not come to an end.
    const state = task.mode === "skip" ? "skip" : result?.state === "pass" ? "pass" : "fail"
    return [{ ...own, state }]
  }
  const inside = task.tasks.flatMap(reports)
  // A file that cannot be evaluated, or a hook around all of a suite.
  return errors.length > 0 ? [...inside, { ...own, state: "fail" }] : inside
}

const checkCanaries = async (tests: ReadonlyArray<TestReport>): Promise<ReadonlyArray<string>> => {
  const { expected } = await import("./canaries.ts")
  const problems = Object.keys(expected)
    .filter((name) => !tests.some((test) => test.name === name))
    .map((name) => `the canary "${name}" has not run`)
  for (const { errors, name, state } of tests) {
    const error = expected[name]
    const isAsExpected =
      name in expected && (error === undefined ? state === "pass" : errors.some((each) => each.startsWith(error)))
    if (!isAsExpected) problems.push(`the canary "${name}" came to: ${state} ${errors.join("; ")}`)
  }
  return problems
}
