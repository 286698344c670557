/** What is counted of the work of effects, each run in a world of its own, and how much of it there may be. */
import type { Effect } from "effect"
import { expect } from "vitest"
import { captureContext } from "../../src/internal/runtime/asyncContext.ts"
import { turnBegins } from "../../src/internal/runtime/eventLoop.ts"
import { type Counts, expectAtMost, noCounts, Tally } from "./Tally.ts"
import { World, type WorldOptions } from "./World.ts"

/** Its steps are those of the scheduler, and timers that have fired. */
export interface Work extends Counts {
  fibers: number
}

const noWork: Work = { ...noCounts, fibers: 0 }

/**
 * What may be on top, however many tasks there are: what is done once for a call. Beyond that, a stream, or a run whose
 * tasks end at once, goes on in a later turn after some thousand of them, which is far less than one for a hundred.
 */
const onTop: Work = {
  ...noWork,
  steps: 20,
  fibers: 4,
  reads: 20,
  looks: 20,
  rounds: 30,
  places: 120,
  elements: 300,
  captures: 4
}

/** Counts what the world knows of as well. */
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

/** Runs it in a world of its own, in which it has to succeed and leave nothing behind. */
export const see = async (
  scenario: (tally: WorldTally, world: World) => Effect.Effect<unknown, unknown>,
  options?: WorldOptions
): Promise<Seen> => {
  // What is looked up the first time only, and when the present turn has begun, would be a difference between sizes.
  captureContext()
  turnBegins()
  const world = new World(options)
  const tally = new WorldTally(world)
  await tally.during(() => world.value(scenario(tally, world)))
  expect(world.timersLeft, "timers left").toBe(0)
  expect(world.fibersLive, "fibers left").toBe(0)
  return { work: tally.work, world }
}

/**
 * Each of `count` may have made that much work; what is not named may not be done for each of them at all. Effect itself
 * goes through short arrays, some of them for each fiber and each step, so for these there is one limit.
 */
export const expectForEach = (count: number, work: Work, forEach: Partial<Work>): void =>
  expectAtMost(count, work, { ...noWork, elements: 64, ...forEach }, onTop)
