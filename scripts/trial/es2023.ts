/**
 * The types of the facade where `lib` knows neither `AsyncDisposable` nor `Symbol.asyncDispose`, as in create-vite's
 * templates: what a type of the package mentions and `lib` lacks would be `any` under `skipLibCheck`, without an error.
 */
import { amap, createKeyedMeter, createMeter, runAll, runAny, runOnEach } from "@fibermeter/promise"
import type { Results } from "@fibermeter/promise"

/** Takes exactly the type that is named, and `any` for none. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the one way to compare two types exactly
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? A : never
const is =
  <Expected>() =>
  <Actual>(value: Actual & Same<Actual, Expected>): void =>
    void value

const length = async (text: string) => text.length

export const promises = async () => {
  const lengths = amap(["a"], length)
  is<Results<number>>()(lengths)
  is<number>()((await lengths.next()).value as number)
  // @ts-expect-error: what `any` would allow
  void lengths.nothingOfTheKind
  for await (const value of lengths) is<number>()(value)
  await lengths.return()
  is<Array<number>>()(await runAll(["a"], length))
  is<void>()(await runOnEach(["a"], length))
  is<number>()(await runAny(["a"], length))
  const meter = createMeter({ maxAtOnce: 2 })
  // @ts-expect-error: what `any` would allow
  void meter.nothingOfTheKind
  is<string>()(await meter.run(({ signal }) => String(signal.aborted)))
  for await (const value of meter.amap(["a"], length)) is<number>()(value)
  is<number>()(
    await createKeyedMeter<string>({ maxAtOnce: 2 })
      .for("a")
      .run(() => 1)
  )
  await meter.close()
}
