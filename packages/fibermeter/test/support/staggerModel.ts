/** When the tasks of a staggered race start, and how it ends: a plain simulation with `maxAtOnce`. */

export interface Racer {
  /** How long its task takes, in milliseconds. */
  readonly lasts: number
  readonly wins: boolean
}

export interface SimulatedRace {
  /** The starts, in the order of the input. */
  readonly starts: ReadonlyArray<number>
  readonly end: number
  /** The index of the winner, if there is one. */
  readonly winner: number | undefined
  /** Whether two events fall on one instant, so that their order is open. */
  readonly isTied: boolean
}

export const simulateRace = (
  racers: ReadonlyArray<Racer>,
  { maxAtOnce, stagger }: { readonly maxAtOnce: number; readonly stagger: number }
): SimulatedRace => {
  const starts: Array<number> = []
  const running = new Map<number, number>()
  let time = 0
  let dueAt = 0
  // A start has been requested, and waits for a permit.
  let isRequested = false
  let isTied = false
  for (;;) {
    const isLeft = starts.length < racers.length
    const due = isLeft && !isRequested ? dueAt : Infinity
    const [first = -1, ends = Infinity] = [...running].sort(([, a], [, b]) => a - b)[0] ?? []
    if (due === Infinity && ends === Infinity) return { starts, end: time, winner: undefined, isTied }
    isTied ||= due === ends || [...running.values()].filter((at) => at === ends).length > 1
    time = Math.min(due, ends)
    if (ends < due) {
      running.delete(first)
      if (racers[first]!.wins) return { starts, end: time, winner: first, isTied }
      if (isLeft && !isRequested) dueAt = time
    } else {
      isRequested = true
    }
    if (isRequested && running.size < maxAtOnce) {
      isRequested = false
      dueAt = time + stagger
      running.set(starts.length, time + racers[starts.length]!.lasts)
      starts.push(time)
    }
  }
}
