/** What a user of the published packages would write, in TypeScript: compiled by check.ts against the tarballs. */
import { amap, createMeter, runAll, runAny, runOnEach } from "@fibermeter/promise"
import { type Cause, Effect, pipe, type Stream } from "effect"
import * as core from "fibermeter"

// Each value is given its type, so that an inference gone wrong (to `any` as well) does not compile.
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the one way to compare two types exactly
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? A : never
const is =
  <Expected>() =>
  <Actual>(value: Actual & Same<Actual, Expected>): void =>
    void value

const length = async (text: string) => text.length
const limits = { maxAtOnce: 2, maxPerSecond: 10 }

export const promises = async () => {
  is<Array<number>>()(await runAll(["a"], length, limits))
  is<void>()(await runOnEach(["a"], length, limits))
  is<number>()(await runAny(["a"], length))
  for await (const value of amap(["a"], length, { ordered: true })) is<number>()(value)
  is<string>()(await createMeter(limits).run(({ signal }) => String(signal.aborted)))
  // @ts-expect-error: an option that is misspelt
  await runAll(["a"], length, { maxAtOnces: 2 })
}

const half = (n: number) => (n % 2 === 0 ? Effect.succeed(n / 2) : Effect.fail("odd" as const))

export const program = Effect.gen(function* () {
  is<Effect.Effect<Array<number>, "odd">>()(core.runAll([2], half, limits))
  is<Effect.Effect<Array<number>, "odd">>()(pipe([2], core.runAll(half)))
  is<Effect.Effect<void, "odd">>()(core.runOnEach([2], half))
  is<Effect.Effect<number, "odd" | Cause.NoSuchElementError>>()(core.runAny([2], half))
  is<Stream.Stream<number, "odd">>()(core.amap([2], half))
  const meter: core.Meter.Meter = yield* core.Meter.make(limits)
  is<Effect.Effect<number, "odd">>()(core.Meter.metered(half(2), meter))
})
