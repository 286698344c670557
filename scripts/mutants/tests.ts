/**
 * The process that runs tests in the copy of the repository. It keeps one Vitest instance for all mutants, which saves
 * its start. `main.ts` kills the process and its workers if a mutant makes a test hang.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { createVitest, type TestCase, type TestModule } from "vitest/node"

/** Some tests of one file. */
export interface Step {
  readonly project: string
  readonly module: string
  readonly tests: ReadonlyArray<string>
}
export interface Test {
  readonly project: string
  readonly module: string
  readonly id: string
  readonly name: string
  readonly passed: boolean
  readonly millis: number
  /** The blocks that it executes in its own process. */
  readonly reached: ReadonlyArray<number>
}
export type Request =
  | { readonly type: "every test"; readonly covering: boolean }
  | { readonly type: "steps"; readonly file: string; readonly code: string; readonly steps: ReadonlyArray<Step> }
export type Reply =
  | { readonly type: "ready" }
  | { readonly type: "tests"; readonly tests: ReadonlyArray<Test> }
  | { readonly type: "step" }
  | { readonly type: "done"; readonly caughtBy: string | undefined }

const send = (reply: Reply): void => void process.send!(reply)
const root = process.cwd()

const vitest = await createVitest("test", {
  root,
  watch: false,
  project: ["fibermeter", "promise"],
  reporters: [{}],
  coverage: { enabled: false },
  maxWorkers: 1,
  bail: 1
})

const failureOf = (module: TestModule): string | undefined => {
  const failed = Array.from(module.children.allTests()).find((test) => test.result().state === "failed")
  if (failed !== undefined) return `${module.relativeModuleId}: ${failed.fullName}`
  return module.ok() ? undefined : `${module.relativeModuleId}: the file`
}

async function everyTest(covering: boolean): Promise<ReadonlyArray<Test>> {
  vitest.config.bail = 0
  for (const project of vitest.projects) {
    project.config.bail = 0
    project.config.setupFiles = covering ? [join(root, "scripts/mutants/reached.ts")] : []
  }
  const specifications = await vitest.globTestSpecifications()
  const { testModules } = await vitest.runTestSpecifications(
    // These tests only run the compiler, which takes long and executes no code of the packages.
    specifications.filter(({ moduleId }) => !moduleId.endsWith("/compiler.test.ts"))
  )
  vitest.config.bail = 1
  for (const project of vitest.projects) {
    project.config.bail = 1
    project.config.setupFiles = []
  }
  const described = (test: TestCase): Test => {
    const { reached = [], byLoading = [] } = test.meta() as { reached?: Array<number>; byLoading?: Array<number> }
    return {
      project: test.project.name,
      module: test.module.moduleId,
      id: test.id,
      name: test.fullName,
      passed: test.ok(),
      millis: test.diagnostic()?.duration ?? 0,
      reached: reached.length === 0 ? [] : [...new Set([...reached, ...byLoading])]
    }
  }
  return testModules.flatMap((module) => Array.from(module.children.allTests(), described))
}

/** Runs the steps up to the first failure, and returns what failed. */
async function run(steps: ReadonlyArray<Step>): Promise<string | undefined> {
  for (const { project, module, tests } of steps) {
    send({ type: "step" })
    const owner = vitest.projects.find(({ name }) => name === project)!
    // `bail` counts the failures of earlier runs that are still in the state.
    vitest.state.filesMap.clear()
    vitest.state.clearErrors()
    const { testModules, unhandledErrors } = await vitest.runTestSpecifications([
      owner.createSpecification(module, { testIds: [...tests] })
    ])
    const failure = testModules.map(failureOf).find((name) => name !== undefined)
    if (failure !== undefined) return failure
    if (unhandledErrors.length > 0) return `${module}: an unhandled error`
  }
  return undefined
}

process.on("message", (request: Request) => {
  const answer = async (): Promise<void> => {
    if (request.type === "every test") return send({ type: "tests", tests: await everyTest(request.covering) })
    const original = readFileSync(request.file, "utf8")
    writeFileSync(request.file, request.code)
    vitest.invalidateFile(request.file)
    const caughtBy = await run(request.steps)
    writeFileSync(request.file, original)
    vitest.invalidateFile(request.file)
    return send({ type: "done", caughtBy })
  }
  void answer().catch((error: unknown) => {
    console.error(error)
    process.exit(1)
  })
})
process.on("disconnect", () => process.exit())
send({ type: "ready" })
