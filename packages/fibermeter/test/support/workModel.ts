/**
 * When the tasks of a work queue start, and when a call over it ends: a plain simulation of one call with `maxAtOnce` and
 * retries after a fixed delay.
 */

import fc from "fast-check"

/** An item: its task adds the children after some time, and ends after some more. */
export interface Node {
  readonly id: number
  readonly before: number
  readonly after: number
  /** How many attempts fail before one that succeeds. The children are added by the first attempt. */
  readonly failures: number
  readonly children: ReadonlyArray<Node>
}

export interface Simulated {
  readonly starts: ReadonlyArray<readonly [id: number, at: number]>
  readonly end: number
  /** Whether two events fall on one instant, so that their order is open. */
  readonly isTied: boolean
}

export const simulate = (
  seeds: ReadonlyArray<Node>,
  options: {
    readonly delay: number
    readonly maxAtOnce: number
    /** Whether the call takes an item before it can start. */
    readonly ahead: boolean
    /** Whether tasks that fail are retried. Otherwise none fails. */
    readonly retries?: boolean
  }
): Simulated => {
  const { ahead, delay, maxAtOnce, retries = true } = options
  const events: Array<readonly [at: number, happens: () => void]> = []
  const queue = [...seeds]
  const due: Array<readonly [Node, attempt: number]> = []
  const starts: Array<readonly [number, number]> = []
  const failed = new Map<number, number>()
  // The item at hand.
  let hand: readonly [Node, attempt: number] | undefined
  let backingOff = 0
  let running = 0
  let time = 0
  let end = 0
  let isTied = false

  const take = (): readonly [Node, number] | undefined => {
    const retry = due.shift()
    if (retry !== undefined) return retry
    const mayTake = backingOff === 0 || backingOff < maxAtOnce
    const node = mayTake ? queue.shift() : undefined
    return node === undefined ? undefined : [node, 0]
  }
  const startAll = (): void => {
    while ((ahead || running < maxAtOnce) && (hand ??= take()) !== undefined && running < maxAtOnce) {
      const [node, attempt] = hand
      hand = undefined
      if (attempt > 0) backingOff--
      start(node, attempt)
    }
  }
  const start = (node: Node, attempt: number): void => {
    running++
    starts.push([node.id, time])
    events.push([
      time + node.before,
      () => {
        if (attempt === 0) queue.push(...node.children)
        events.push([time + node.after, () => settle(node, attempt)])
      }
    ])
  }
  const settle = (node: Node, attempt: number): void => {
    running--
    end = time
    const failures = (failed.get(node.id) ?? 0) + 1
    if (failures > node.failures || !retries) return
    failed.set(node.id, failures)
    backingOff++
    events.push([time + delay, () => due.push([node, attempt + 1])])
  }

  startAll()
  while (events.length > 0) {
    events.sort(([a], [b]) => a - b)
    const [at, happens] = events.shift()!
    isTied ||= at === time || events.some(([other]) => other === at)
    time = at
    happens()
    startAll()
  }
  return { starts, end, isTied }
}

export const millis = fc.integer({ min: 1, max: 20_000 })

/** Up to 15 items, of which some are found by the tasks of others. */
export const trees: fc.Arbitrary<ReadonlyArray<Node>> = fc
  .array(fc.record({ before: millis, after: millis, failures: fc.constantFrom(0, 0, 0, 1, 2), parent: fc.nat() }), {
    maxLength: 15
  })
  .map((nodes) => {
    const seeds: Array<Node> = []
    const made: Array<Node & { readonly children: Array<Node> }> = []
    for (const [id, { parent, ...node }] of nodes.entries()) {
      const next = { ...node, id, children: [] }
      const under = parent % (id + 1)
      ;(under === id ? seeds : made[under]!.children).push(next)
      made.push(next)
    }
    return seeds
  })
