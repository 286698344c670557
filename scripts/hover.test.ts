/** What an editor shows on hover, by TypeScript's language service: every form of a call is documented, with plain types. */
import { join } from "node:path"
import ts from "typescript-5.9"
import { beforeAll, describe, expect, it } from "vitest"

const root = join(import.meta.dirname, "..")
// Never written. From its path, both packages resolve.
const file = join(root, "examples/hover.ts")

/** Calls, each with the name to hover over, and what the shown signature contains. */
const core: ReadonlyArray<readonly [call: string, name: string, shown: string]> = [
  ["runOnEach([1], f)", "runOnEach", "items: number[]"],
  ["pipe([1], runOnEach(f))", "runOnEach", "(item: number, index: number) =>"],
  ["runAll([1], f, { maxAtOnce: 2 })", "runAll", "Effect.Effect<string[], Error, never>"],
  ["pipe([1], runAll(f))", "runAll", "(item: number, index: number) =>"],
  ["runAll([Effect.void])", "runAll", "effects: readonly [Effect.Effect<void, never, never>]"],
  ["amap([1], f)", "amap", "): Stream<string, Error, never>"],
  ["pipe([1], amap(f))", "amap", "(item: number, index: number) =>"],
  ["runAny([1], f)", "runAny", "Effect.Effect<string, Error | NoSuchElementError, never>"],
  ["pipe([1], runAny(f))", "runAny", "(item: number, index: number) =>"],
  ["runAny([Effect.void])", "runAny", "effects: readonly [Effect.Effect<void, never, never>]"],
  ["Meter.metered(f(1), meter)", "metered", "Effect.Effect<string, Error, never>"],
  ["f(1).pipe(Meter.metered(meter))", "metered", "meter: Meter.Meter<never, never>"],
  ["Meter.acquire(meter)", "acquire", "Effect.Effect<Meter.Permit, never, Scope>"],
  ["meter.pipe(Meter.acquire({ cost: { a: 1 } }))", "acquire", "options?: "],
  ["Meter.pause(meter, 5)", "pause", "(meter: Meter.AnyMeter, duration?: "],
  ["meter.pipe(Meter.pause(5))", "pause", "(duration?: "],
  ["Meter.resize(meter, {})", "resize", "(meter: Meter.AnyMeter, limits: Meter.MeterLimits)"],
  ["meter.pipe(Meter.resize({}))", "resize", "(limits: Meter.MeterLimits)"],
  ["WorkQueue.make([1])", "make", "Effect.Effect<WorkQueue.WorkQueue<number>"],
  ["WorkQueue.add(queue, 2)", "add", "Effect.Effect<void, WorkQueue.WorkQueueEnded"],
  ["queue.pipe(WorkQueue.addAll([2]))", "addAll", "items: Iterable<number"]
]

const facade: ReadonlyArray<readonly [call: string, name: string, shown: string]> = [
  ["promise.runOnEach([1], g)", "runOnEach", "items: promise.Items<number>"],
  ["promise.runAll([1], g)", "runAll", "Promise<string[]>"],
  ["promise.runAll([1], g, { settled: true })", "runAll", "promise.Outcome<string, number>"],
  ["promise.runAll([() => 1])", "runAll", "Promise<[number]>"],
  ["promise.runAll([() => 1], { settled: true })", "runAll", "promise.Outcome<number, () => number>"],
  ["promise.amap([1], g)", "amap", "promise.Results<string>"],
  ["promise.amap([1], g, { settled: true })", "amap", "promise.Outcome<string, number>"],
  ["promise.runAny([1], g)", "runAny", "Promise<string>"],
  ["promise.runAny([() => 1])", "runAny", "Promise<number>"],
  ...["run", "wrap", "pause", "resize", "snapshot", "idle", "clear", "close", "resume"].map(
    (name) => [`api.${name}`, name, `Meter.${name}: `] as const
  ),
  ["promise.createWorkQueue([1])", "createWorkQueue", "): promise.WorkQueue<number>"],
  ["promise.createMeter({})", "createMeter", "): promise.Meter"],
  ["({ meter: api }) satisfies promise.Options", "api", "const api: promise.Meter"],
  ["({} as promise.Options).meter", "meter", "promise.Meter | readonly promise.Meter[]"]
]

const calls = [...core, ...facade]

const program = [
  'import { Effect, pipe } from "effect"',
  'import { amap, Meter, runAll, runAny, runOnEach, WorkQueue } from "fibermeter"',
  'import * as promise from "@fibermeter/promise"',
  "declare const f: (item: number) => Effect.Effect<string, Error>",
  "declare const g: (item: number) => Promise<string>",
  "const meter = Meter.makeUnsafe({})",
  "const api = promise.createMeter({})",
  "const queue = WorkQueue.makeUnsafe([1])",
  ...calls.map(([call]) => `void (${call})`)
]

interface Shown {
  readonly signature: string
  readonly documentation: string
  /** The overloads that say nothing. A hover then falls back to the documentation of the function, but not the help for a call. */
  readonly undocumented: ReadonlyArray<string>
}

const shown = new Map<string, Shown>()

beforeAll(() => {
  const { options } = ts.getParsedCommandLineOfConfigFile(
    join(root, "tsconfig.json"),
    { types: [] },
    {
      ...ts.sys,
      onUnRecoverableConfigFileDiagnostic: (diagnostic) =>
        expect.fail(ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n"))
    }
  )!
  const text = program.join("\n")
  const read = (path: string): string | undefined => (path === file ? text : ts.sys.readFile(path))
  const service = ts.createLanguageService({
    ...ts.sys,
    useCaseSensitiveFileNames: () => true,
    readFile: read,
    fileExists: (path) => path === file || ts.sys.fileExists(path),
    getCompilationSettings: () => options,
    getScriptFileNames: () => [file],
    getScriptVersion: () => "1",
    getScriptSnapshot: (path) => {
      const content = read(path)
      return content === undefined ? undefined : ts.ScriptSnapshot.fromString(content)
    },
    getCurrentDirectory: () => root,
    getDefaultLibFileName: ts.getDefaultLibFilePath
  })
  expect(
    service.getSemanticDiagnostics(file).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"))
  ).toEqual([])
  for (const [call, name] of calls) {
    const at = text.indexOf(`void (${call})`) + "void (".length + call.search(new RegExp(`\\b${name}\\b(?!:)`))
    const info = service.getQuickInfoAtPosition(file, at)
    const help = service.getSignatureHelpItems(file, text.indexOf("(", at) + 1, undefined)
    shown.set(call, {
      signature: ts.displayPartsToString(info?.displayParts).replaceAll(/\s+/g, " "),
      documentation: ts.displayPartsToString(info?.documentation),
      undocumented: (help?.items ?? [])
        .filter(({ documentation }) => documentation.length === 0)
        .map(({ parameters }) => parameters.map((each) => ts.displayPartsToString(each.displayParts)).join(", "))
    })
  }
}, 60_000)

describe.each([
  ["fibermeter", core],
  ["@fibermeter/promise", facade]
] as const)("a hover in a program that uses %s", (_, cases) => {
  it.each(cases)("shows what %s takes and gives", (call, _, part) => {
    expect(shown.get(call)?.signature).toContain(part)
  })

  it.each(cases.filter(([call]) => !call.startsWith("(")))(
    "shows the documentation of %s, of every overload",
    (call) => {
      expect(shown.get(call)?.undocumented).toEqual([])
      expect(shown.get(call)?.documentation).toMatch(/^[A-Z][^]{10,}\./)
    }
  )
})

it("no hover shows what is internal to the types", () => {
  for (const { signature } of shown.values()) expect(signature).not.toMatch(/Limiter|Meant|AnyFunction/)
})
