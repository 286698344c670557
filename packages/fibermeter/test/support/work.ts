/** Counts the work of effects, each run in a `World`, and bounds it. */
import type { Effect } from "effect"
import { expect } from "vitest"
import { captureShared } from "../../src/internal/runtime/sharedContext.ts"
import { turnBegins } from "../../src/internal/runtime/eventLoop.ts"
import { type Counts, expectAtMost, noCounts, Tally } from "./Tally.ts"
import { World, type WorldOptions } from "./World.ts"

/** `steps` are those of the scheduler, and timers that have fired. */
export interface Work extends Counts {
  fibers: number
}

const noWork: Work = { ...noCounts, fibers: 0 }

/**
 * The constant part, for any number of tasks: the work per call. A stream, or a run whose tasks end at once, also yields
 * after some thousand tasks, which is far less than once for a hundred.
 */
const onTop: Work = {
  ...noWork,
  steps: 20,
  fibers: 4,
  reads: 20,

  elements: 300,
  captures: 4
}

/** Also counts what the world counts. */
class WorldTally extends Tally<Work> {
  private readonly world: World

  constructor(world: World) {
    super(noWork)
    this.world = world
  }

  protected override get all(): Work {
    const { clockReads, fibersBegun, steps, timersArmed } = this.world
    return { ...this.counted, steps, fibers: fibersBegun, timers: timersArmed, reads: clockReads }
  }
}

interface Seen {
  readonly work: Work
  readonly world: World
}

/** Runs it in a new world. It must succeed and leave no timers and fibers. */
export const see = async (
  scenario: (tally: WorldTally, world: World) => Effect.Effect<unknown, unknown>,
  options?: WorldOptions
): Promise<Seen> => {
  // What is only read the first time, and the beginning of the current turn, would differ between sizes.
  captureShared()
  turnBegins()
  const world = new World(options)
  const tally = new WorldTally(world)
  await tally.during(() => world.value(scenario(tally, world)))
  expect(world.timersLeft, "timers left").toBe(0)
  expect(world.fibersLive, "fibers left").toBe(0)
  return { work: tally.work, world }
}

/**
 * Bounds the work for each of `count`. Kinds that `forEach` does not name must not be needed for each. Effect itself visits
 * short arrays for each fiber and step, so there is one bound for these.
 */
export const expectForEach = (count: number, work: Work, forEach: Partial<Work>): void =>
  expectAtMost(count, work, { ...noWork, elements: 64, ...forEach }, onTop)
