/** What simulations and processes have in common: how starts and permits are counted. */

/** A task that holds permits, for as long as its process may think so. */
export interface Use {
  readonly from: number
  readonly to: number
  readonly weight: number
}

/** The most that any half-open window of that length holds. */
export const mostIn = <Start extends { readonly at: number }>(
  starts: ReadonlyArray<Start>,
  per: number,
  cost: (start: Start) => number
): number => {
  const sorted = starts.toSorted((one, other) => one.at - other.at)
  let most = 0
  let sum = 0
  let first = 0
  for (const start of sorted) {
    sum += cost(start)
    while (sorted[first]!.at <= start.at - per) sum -= cost(sorted[first++]!)
    most = Math.max(most, sum)
  }
  return most
}

/** The most permits that are in use at a time. */
export const mostAtOnce = (uses: ReadonlyArray<Use>): number => {
  const changes = uses
    .flatMap(({ from, to, weight }) => [
      { at: from, by: weight },
      { at: to, by: -weight }
    ])
    .toSorted((one, other) => one.at - other.at || one.by - other.by)
  let inUse = 0
  let most = 0
  for (const { by } of changes) {
    inUse += by
    most = Math.max(most, inUse)
  }
  return most
}
