/** The compiler's messages about calls: where an error is reported, and what it names. */
import { describe, expect, it } from "vitest"
import { compilers, errorsOf } from "../../fibermeter/test/support/compiler.ts"

it.each(compilers)("%s: what amap returns has a type also where lib lacks AsyncDisposable", async (compiler) => {
  const errors = await errorsOf(
    compiler,
    import.meta.dirname,
    `import { amap } from "../../src/index.ts"
const results = amap([1], async (n) => String(n))
export const wrong: number = results
export const loop = async () => {
  for await (const text of results) {
    const length: number = text
    console.log(length)
  }
}
`
  )
  expect(errors).toEqual([
    expect.stringContaining("3:14 Type 'Results<string>' is not assignable to type 'number'") as string,
    expect.stringContaining("6:11 Type 'string' is not assignable to type 'number'") as string
  ])
})

describe.each(compilers)("%s: a wrong call is reported at the wrong argument", (compiler) => {
  const cases: ReadonlyArray<readonly [call: string, at: string, phrase: string]> = [
    ['runAll(["a"], (n: number) => n)', "(n: number", "Type 'string' is not assignable to type 'number'"],
    ['runAny(["a"], (n: number) => n)', "(n: number", "Type 'string' is not assignable to type 'number'"],
    ['runOnEach(["a"], (n: number) => n)', "(n: number", "Type 'string' is not assignable to type 'number'"],
    ['amap(["a"], (n: number) => n)', "(n: number", "Type 'string' is not assignable to type 'number'"],
    [
      'runAll(["a"], (n, index: number) => [n, index])',
      "(n, index",
      "Type 'TaskContext' is not assignable to type 'number'"
    ],
    [
      'runAny(["a"], (n, index: number) => [n, index])',
      "(n, index",
      "Type 'TaskContext' is not assignable to type 'number'"
    ],
    ["runAll([() => 1], { concurrency: 5 })", "concurrency", "'concurrency' does not exist in type 'RunAllOptions"],
    ["runAny([() => 1], { concurrency: 5 })", "concurrency", "'concurrency' does not exist in type 'RunAnyOptions"],
    ['runAll({ a: () => 1 }, { maxAtOnce: "5" })', "maxAtOnce", "Type 'string' is not assignable to type 'number'"],
    ["runAll([Promise.resolve(1)], { maxAtOnce: 5 })", "[Promise", "[Promise<number>]"],
    ["runAny([Promise.resolve(1)], { maxAtOnce: 5 })", "[Promise", "[Promise<number>]"]
  ]

  it("of each of the verbs", async () => {
    const program = [
      'import { amap, runAll, runAny, runOnEach } from "../../src/index.ts"',
      ...cases.map(([call]) => call)
    ]
    expect(await errorsOf(compiler, import.meta.dirname, program.join("\n"))).toEqual(
      cases.map(([call, at, phrase], i) => expect.stringMatching(place(call, at, phrase, i + 2)) as string)
    )
  })
})

/** The line and column of a part of a call, and what the message must contain. */
const place = (call: string, part: string, phrase: string, line: number): RegExp =>
  new RegExp(`^${line}:${call.indexOf(part) + 1} [^]*${phrase.replaceAll(/[[\]().*+?^$|\\]/g, "\\$&")}`)
