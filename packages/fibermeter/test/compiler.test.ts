/** The compiler's messages about calls: where an error is reported, and what it names. */
import { describe, expect, it } from "vitest"
import { compilers, errorsOf } from "./support/compiler.ts"

describe.each(compilers)("%s: a wrong call is reported at the wrong argument", (compiler) => {
  const result = /[^]*Type 'Promise<(1|number)>' is missing the following properties from type 'Effect</
  const cases: ReadonlyArray<readonly [call: string, at: string, message: RegExp]> = [
    ["runAll([1], async (n) => n)", "n)", result],
    ["runAny([1], async (n) => n)", "n)", result],
    ["runOnEach([1], async (n) => n)", "n)", result],
    ["amap([1], async (n) => n)", "n)", result],
    [
      'runAll(["a"], (n: number) => Effect.succeed(n))',
      "(n: number",
      /[^]*Type 'string' is not assignable to type 'number'/
    ],
    [
      "runAny([Effect.void], { concurrency: 5 })",
      "concurrency",
      /[^]*'concurrency' does not exist in type 'RunAnyOptions/
    ],
    ["runAll([Promise.resolve(1)], { maxAtOnce: 5 })", "[Promise", /[^]*\[Promise<number>\]/]
  ]

  it("of each of the verbs", async () => {
    const program = [
      'import { Effect } from "effect"; import { amap, runAll, runAny, runOnEach } from "../../src/index.ts"; void Effect',
      ...cases.map(([call]) => call)
    ]
    const errors = await errorsOf(compiler, import.meta.dirname, program.join("\n"))
    expect(errors).toEqual(
      cases.map(([call, at, message], i) => {
        const column = (at === "n)" ? call.lastIndexOf(at) : call.indexOf(at)) + 1
        return expect.stringMatching(new RegExp(`^${i + 2}:${column} ${message.source}`)) as string
      })
    )
  })
})
