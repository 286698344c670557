/** A meter as a service: one for a whole program, by a layer. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Config, ConfigProvider, Context, Effect, Exit, Layer } from "effect"
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
  it("provides one meter to a whole program: its limits hold for all parts together", async () => {
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

  it("invalid limits are a defect of the layer, before anything of the program runs", async () => {
    const log = new Log()
    const layer = Meter.layer(GitHub, { maxPerSecond: 0 })
    const defect = defectOf(await log.world.run(Effect.provide(part(log, GitHub, "a"), layer)))
    expect(defect).toBeInstanceOf(Cause.IllegalArgumentError)
    expect((defect as Error).message).toContain("maxPerSecond must be a number greater than 0")
    expect(log.starts).toEqual([])
  })
})

describe("layerConfig", () => {
  const limitsFrom = (limits: Meter.LimitsConfig, environment: Record<string, unknown>) =>
    GitHub.pipe(
      Effect.flatMap(Meter.snapshot),
      Effect.map(({ free, room }) => ({ free, room })),
      Effect.provide(Meter.layerConfig(GitHub, limits)),
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(environment)),
      Effect.exit
    )
  const each: Meter.LimitsConfig = {
    maxAtOnce: Config.Int("AT_ONCE"),
    maxPerSecond: undefined,
    windows: {
      short: { limit: Config.Int("SHORT"), per: Config.succeed("1 second" as const) },
      long: { limit: Config.Int("LONG"), per: Config.Duration("LONG_WINDOW") },
      none: undefined
    }
  }
  const environment = { AT_ONCE: 3, SHORT: 5, LONG: 50, LONG_WINDOW: "1 hour" }

  it.effect("reads each limit, and those of windows, when the layer is built", () =>
    Effect.gen(function* () {
      expect(yield* limitsFrom(each, environment)).toEqual(Exit.succeed({ free: 3, room: { short: 5, long: 50 } }))
    })
  )

  it.effect("reads all limits, or all windows, from one Config", () =>
    Effect.gen(function* () {
      const windows = Config.all({
        all: Config.all({ limit: Config.Int("LONG"), per: Config.Duration("LONG_WINDOW") })
      })
      const expected = Exit.succeed({ free: Infinity, room: { all: 50 } })
      expect(yield* limitsFrom({ windows }, environment)).toEqual(expected)
      expect(yield* limitsFrom(Config.all({ windows }), environment)).toEqual(expected)
    })
  )

  it.effect("fails with a ConfigError if a value is missing or cannot be read", () =>
    Effect.gen(function* () {
      for (const wrong of [
        { ...environment, SHORT: undefined },
        { ...environment, AT_ONCE: "many" }
      ]) {
        const exit = yield* limitsFrom(each, wrong)
        expect(Exit.isFailure(exit) && exit.cause.reasons.map((reason) => reason._tag)).toEqual(["Fail"])
        expect(Exit.isFailure(exit) && Exit.findErrorOption(exit)).toMatchObject({ value: { _tag: "ConfigError" } })
      }
    })
  )

  it.effect("a value that is out of range is a defect that names the limit", () =>
    Effect.gen(function* () {
      const defect = defectOf(yield* limitsFrom(each, { ...environment, AT_ONCE: 0 }))
      expect(defect).toBeInstanceOf(Cause.IllegalArgumentError)
      expect((defect as Error).message).toContain("maxAtOnce must be a whole number")
    })
  )
})
