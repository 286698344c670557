/**
 * G14: however fast the tasks resolve, control returns to the event loop every few milliseconds. These run on the real
 * event loop; what is asserted is how far the tasks had come when somebody else had his turn, not how long it took.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { amap, Meter } from "../../src/index.ts"
import { verbs } from "../support/verbs.ts"

function* indices(size: number) {
  for (let index = 0; index < size; index++) yield index
}

/** So many of each that they take several times what anybody should have to wait. */
const tasks: ReadonlyArray<{ readonly name: string; readonly task: Effect.Effect<void>; readonly count: number }> = [
  { name: "Effect.succeed", task: Effect.void, count: 300_000 },
  { name: "Effect.sync", task: Effect.sync(() => {}), count: 300_000 },
  { name: "a resolved promise", task: Effect.promise(() => Promise.resolve()), count: 60_000 }
]

const limits = [
  { name: "ten at once", make: () => ({ maxAtOnce: 10 }) },
  { name: "a shared meter", make: () => ({ meter: Meter.makeUnsafe({ maxAtOnce: 10 }) }) },
  { name: "a rate that is never in the way", make: () => ({ maxAtOnce: 10, maxPerSecond: 1e9, maxBurst: 1e9 }) }
]

describe("G14 lets others in", () => {
  describe.each(verbs)("$name", (verb) => {
    for (const [which, { make, name: limited }] of limits.entries()) {
      // Each limit with one kind of task, the first with all of them: that is where the ways through the engine differ.
      for (const { count, name, task } of which === 0 ? tasks : tasks.slice(2)) {
        it(`timers and I/O have their turn while tasks of ${name} run, ${limited}`, async () => {
          let done = 0
          let timer = -1
          let immediates = 0
          const counting = () =>
            Effect.flatMap(task, () => {
              done++
              return verb.name === "runAny" ? Effect.fail("tolerated") : Effect.void
            })
          setTimeout(() => {
            timer = done
          }, 1)
          const turn = () => {
            immediates++
            if (done < count) setImmediate(turn)
          }
          setImmediate(turn)
          await Effect.runPromiseExit(verb.run(indices(count), counting, make()))
          expect(done).toBe(count)
          expect(timer, "the timer fired while tasks ran").toBeGreaterThanOrEqual(0)
          expect(timer, "the timer fired long before the end").toBeLessThan(count / 2)
          expect(immediates, "turns of the event loop").toBeGreaterThanOrEqual(2)
        }, 60_000)
      }
    }

    it("can be interrupted by a timer while tasks that resolve at once never end", async () => {
      let done = 0
      const counting = () => {
        done++
        return verb.name === "runAny" ? Effect.fail("tolerated") : Effect.void
      }
      const forever = verb.run(indices(Number.POSITIVE_INFINITY), counting, { maxAtOnce: 10 })
      // runAny keeps every failure, so it is not left running for long.
      const left = await Effect.runPromise(Effect.timeoutOption(Effect.exit(forever), 20))
      expect(left._tag).toBe("None")
      expect(done).toBeGreaterThan(0)
    }, 60_000)
  })

  it("an endless list of tasks without any limit does not keep everybody else out", async () => {
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 5)
    let started = 0
    const forever = amap(indices(Number.POSITIVE_INFINITY), () => {
      started++
      return Effect.never
    })
    const exit = await Effect.runPromiseExit(Stream.runDrain(forever), { signal: controller.signal })
    expect(exit._tag).toBe("Failure")
    expect(started).toBeGreaterThan(0)
  }, 60_000)

  it("waiters on a shared meter that take their turns at once do not keep everybody else out", async () => {
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    let done = 0
    let timer = -1
    setTimeout(() => {
      timer = done
    }, 1)
    const loop = (left: number): Effect.Effect<void> =>
      left === 0
        ? Effect.void
        : Effect.flatMap(
            Meter.metered(
              Effect.sync(() => done++),
              meter
            ),
            () => Effect.suspend(() => loop(left - 1))
          )
    await Effect.runPromise(Effect.all([loop(50_000), loop(50_000), loop(50_000)], { concurrency: 3 }))
    expect(done).toBe(150_000)
    expect(timer).toBeGreaterThanOrEqual(0)
    expect(timer).toBeLessThan(75_000)
  }, 60_000)
})
