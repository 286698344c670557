/** A meter as a service: one for a whole program, by a layer. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Effect, Layer } from "effect"
import { Meter, runOnEach } from "../../src/index.ts"
import { defectOf, Log, names } from "../support/Log.ts"

class GitHub extends Context.Service<GitHub, Meter.Meter>()("test/meter/GitHub") {
  static readonly layer = Meter.layer(GitHub, { maxAtOnce: 1, maxPerSecond: 10 })
}
class GitLab extends Context.Service<GitLab, Meter.Meter>()("test/meter/GitLab") {
  static readonly layer = Meter.layer(GitLab, { maxAtOnce: 1 })
}

/** A part of a program that knows nothing of the others but the service. */
const part = (log: Log, service: typeof GitHub | typeof GitLab, prefix: string) =>
  Effect.gen(function* () {
    const meter: Meter.Meter = yield* service as typeof GitHub
    yield* runOnEach(names(2, prefix), (name) => log.task(name, 30), { meter })
  })

describe("layer", () => {
  it("gives a whole program one meter: its limits hold for all parts together", async () => {
    const log = new Log()
    const program = Effect.all([part(log, GitHub, "a"), part(log, GitHub, "b")], { concurrency: 2 })
    await log.play([0, Effect.provide(program, GitHub.layer)])
    expect(log.starts).toEqual(["a0 0", "a1 100", "b0 200", "b1 300"])
    expect(log.peak).toBe(1)
  })

  it("also where several layers need it: it is built once", async () => {
    const log = new Log()
    class A extends Context.Service<A, Effect.Effect<void>>()("test/meter/A") {
      static readonly layer = Layer.effect(
        A,
        Effect.map(GitHub, (meter) => Effect.asVoid(Meter.metered(log.task("a"), meter)))
      )
    }
    class B extends Context.Service<B, Effect.Effect<void>>()("test/meter/B") {
      static readonly layer = Layer.effect(
        B,
        Effect.map(GitHub, (meter) => Effect.asVoid(Meter.metered(log.task("b"), meter)))
      )
    }
    const both = Layer.provide(Layer.merge(A.layer, B.layer), GitHub.layer)
    const program = Effect.gen(function* () {
      yield* yield* A
      yield* yield* B
    })
    await log.play([0, Effect.provide(program, both)])
    expect(log.starts).toEqual(["a 0", "b 100"])
  })

  it("each service has a meter of its own", async () => {
    const log = new Log()
    const program = Effect.all([part(log, GitHub, "hub"), part(log, GitLab, "lab")], { concurrency: 2 })
    await log.play([0, Effect.provide(program, Layer.merge(GitHub.layer, GitLab.layer))])
    expect(log.starts).toEqual(["hub0 0", "lab0 0", "lab1 30", "hub1 100"])
  })

  it("two programs have two meters", async () => {
    const log = new Log()
    await log.play(
      [0, Effect.provide(part(log, GitHub, "a"), GitHub.layer)],
      [0, Effect.provide(part(log, GitHub, "b"), GitHub.layer)]
    )
    expect(log.starts).toEqual(["a0 0", "b0 0", "a1 100", "b1 100"])
  })

  it("bad limits are a defect of the layer, before anything of the program runs", async () => {
    const log = new Log()
    const layer = Meter.layer(GitHub, { maxPerSecond: 0 })
    const defect = defectOf(await log.world.run(Effect.provide(part(log, GitHub, "a"), layer)))
    expect(defect).toBeInstanceOf(Cause.IllegalArgumentError)
    expect((defect as Error).message).toContain("maxPerSecond must be a number greater than 0")
    expect(log.starts).toEqual([])
  })
})
