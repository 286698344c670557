/** What a user of the published packages would write, in JavaScript: run by check.ts against the tarballs. */
import { amap, createMeter, runAll, runAny, runOnEach } from "@fibermeter/promise"
import { memoryStore } from "@fibermeter/redis"
import { MemoryStore } from "@fibermeter/redis/effect"
import { Effect, pipe, Stream } from "effect"
import * as core from "fibermeter"
import assert from "node:assert/strict"

const double = async (n) => n * 2
const limits = { maxAtOnce: 2, maxPerSecond: 1000 }

// Plain Promises.
assert.deepEqual(await runAll([1, 2, 3], double, limits), [2, 4, 6])
assert.deepEqual(await runAll({ a: () => 1, b: async () => "b" }), { a: 1, b: "b" })
assert.deepEqual(await Array.fromAsync(amap([1, 2, 3], double, { ...limits, ordered: true })), [2, 4, 6])
let cancelled = 0
const never = (_, { signal }) => new Promise(() => signal.addEventListener("abort", () => cancelled++))
assert.equal(await runAny([1, 2], (n, context) => (n === 2 ? double(n) : never(n, context))), 4)
assert.equal(cancelled, 1)
const seen = []
assert.equal(await runOnEach(new Set(["a", "b"]), (letter) => void seen.push(letter)), undefined)
assert.deepEqual(seen, ["a", "b"])
const meter = createMeter(limits)
assert.equal(await meter.run(() => "metered"), "metered")
assert.deepEqual(await runAll([1, 2], double, { meter }), [2, 4])
await assert.rejects(runAll([1], double, { maxAtOnce: 0 }), RangeError)

// Meters on a store, as several processes share them.
const store = memoryStore()
const shared = [1, 2].map(() => createMeter({ ...limits, store, name: "api" }))
assert.deepEqual(await Promise.all(shared.map((meter) => runAll([1, 2, 3], double, { meter }))), [
  [2, 4, 6],
  [2, 4, 6]
])
await Promise.all(shared.map((meter) => meter.close()))
const distributed = Effect.flatMap(core.Meter.distributed("api", limits), (meter) =>
  core.runAll([1, 2, 3], (n) => Effect.succeed(n * 2), { meter })
).pipe(Effect.scoped, Effect.provide(MemoryStore.layer))
assert.deepEqual(await Effect.runPromise(distributed), [2, 4, 6])

// Effect programs.
const twice = (n) => Effect.succeed(n * 2)
const program = Effect.gen(function* () {
  const shared = yield* core.Meter.make(limits)
  return {
    all: yield* core.runAll([1, 2, 3], twice, { meter: shared }),
    piped: yield* pipe([1, 2], core.runAll(twice)),
    each: yield* core.runOnEach([1], twice, limits),
    map: yield* Stream.runCollect(core.amap([1, 2], twice, { ordered: true })),
    any: yield* core.runAny([Effect.fail("no"), twice(2)]),
    one: yield* core.Meter.metered(twice(1), shared)
  }
})
assert.deepEqual(await Effect.runPromise(program), {
  all: [2, 4, 6],
  piped: [2, 4],
  each: undefined,
  map: [2, 4],
  any: 4,
  one: 2
})

// What is closed stays closed, what is documented opens.
await import("fibermeter/engine")
await assert.rejects(import("fibermeter/internal/run.js"), { code: "ERR_PACKAGE_PATH_NOT_EXPORTED" })

console.log("the published packages work")
