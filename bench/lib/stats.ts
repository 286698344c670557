/** Figures that are robust on a noisy machine: medians, with the spread of the rounds. */

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** The value below which that part of the values lies. */
export const quantile = (values: ReadonlyArray<number>, part: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(part * values.length))]!

export const spreadOf = (values: ReadonlyArray<number>): Spread => ({
  median: median(values),
  min: Math.min(...values),
  max: Math.max(...values)
})

/** The ratio of the medians, with the least and the greatest ratio of any one round. */
export const ratioOf = (ours: ReadonlyArray<number>, theirs: ReadonlyArray<number>): Spread => {
  const perRound = ours.map((time, round) => time / theirs[round]!)
  return { ...spreadOf(perRound), median: median(ours) / median(theirs) }
}

/** The most of these times, in ascending order, that lie in any half-open window of that length. */
export const mostInWindow = (times: ArrayLike<number>, window: number): number => {
  let most = 0
  let end = 0
  for (let begin = 0; begin < times.length; begin++) {
    while (end < times.length && times[end]! < times[begin]! + window) end++
    most = Math.max(most, end - begin)
  }
  return most
}
