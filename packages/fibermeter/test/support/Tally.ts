/**
 * Counts what is done while tasks are run: of each kind of work so much, and no time.
 *
 * What is counted here is done by this package, whoever calls it, so the tests of `@fibermeter/promise` count with this
 * as well. Either adds what only its own callers have.
 */
import { createHook } from "node:async_hooks"
import { expect } from "vitest"
import { Limiter } from "../../src/internal/admission/limiter.ts"
import { WaitList } from "../../src/internal/data/waitList.ts"
import { Run } from "../../src/internal/run/run.ts"
import { AdmissionRequest } from "../../src/internal/admission/request.ts"

export interface Counts {
  /** Steps of the scheduler. */
  steps: number
  timers: number
  /** Looks at the clock. */
  reads: number
  /** Starts that were asked for. */
  asks: number
  /** Questions whether a limiter is open. */
  looks: number
  /** Rounds of the loops that start tasks and let waiters pass. */
  rounds: number
  /** Reads and writes of entries of wait lists: of waiters, of running tasks and of the calls of a meter. */
  places: number
  /** Elements of arrays, sets and maps that were gone through or moved by their methods and iterators. */
  elements: number
  /** Async contexts that were captured. */
  captures: number
  controllers: number
}

export const noCounts: Counts = {
  steps: 0,
  timers: 0,
  reads: 0,
  asks: 0,
  looks: 0,
  rounds: 0,
  places: 0,
  elements: 0,
  captures: 0,
  controllers: 0
}

type Method = (this: unknown, ...args: Array<unknown>) => unknown

/** The methods that take longer the more there is in what they are called on. */
const linear: ReadonlyArray<readonly [prototype: object, names: string]> = [
  [Array.prototype, "every find findIndex findLast findLastIndex includes indexOf lastIndexOf some"],
  [Array.prototype, "concat filter flat flatMap forEach join map reduce reduceRight slice"],
  [Array.prototype, "copyWithin fill reverse shift sort splice unshift"],
  [Array.prototype, "toReversed toSorted toSpliced with"],
  [Set.prototype, "forEach"],
  [Map.prototype, "forEach"]
]

/** What `for…of`, spreads and the like go by, an element at a time. */
const iterators: ReadonlyArray<object> = [[], new Set(), new Map()].map((each) =>
  Object.getPrototypeOf(each[Symbol.iterator]())
)

/** What there is in a line, counting how often any of it is looked at or changed. */
const countedPlaces = (places: Array<unknown>, counted: Counts): Array<unknown> =>
  new Proxy(places, {
    get(target, key) {
      counted.places++
      return Reflect.get(target, key) as unknown
    },
    set(target, key, value) {
      counted.places++
      return Reflect.set(target, key, value)
    }
  })

/** Counts what is done while it is in place. */
export class Tally<Work extends Counts> {
  /** What this has seen itself. */
  protected readonly counted: Work
  private readonly seen = new WeakSet<object>()
  private readonly undo: Array<() => void> = []
  private before: Work

  constructor(none: Work) {
    this.counted = { ...none }
    this.before = none
  }

  /** What has been done since `begin` was last called. */
  get work(): Work {
    const work = { ...this.all } as Record<keyof Work, number>
    const before = this.before as Record<keyof Work, number>
    for (const kind in work) work[kind] -= before[kind]
    return work as Work
  }

  begin(): void {
    this.before = this.all
  }

  /** Is in place while `scenario` runs. */
  async during(scenario: () => Promise<unknown>): Promise<void> {
    try {
      this.install()
      await scenario()
    } finally {
      for (const undo of this.undo.splice(0).toReversed()) undo()
    }
  }

  /** What has been done in all. */
  protected get all(): Work {
    return { ...this.counted }
  }

  protected install(): void {
    const { counted } = this
    this.onCall(AdmissionRequest.prototype, "requestStart", () => counted.asks++)
    this.onCall(Limiter.prototype, "opensForWaiter", () => counted.looks++)
    this.onCall(Limiter.prototype, "admitWaiters", () => counted.rounds++)
    this.onCall(Run.prototype, "pump", () => counted.rounds++)
    this.onCall(WaitList.prototype, "add", (list) => this.countPlaces(list as { entries: Array<unknown> }))
    for (const [prototype, names] of linear) {
      for (const name of names.split(" ")) {
        this.onCall(prototype, name, (self) => {
          const { length, size } = self as { readonly length?: number; readonly size?: number }
          counted.elements += length ?? size ?? 0
        })
      }
    }
    for (const prototype of iterators) this.onCall(prototype, "next", () => counted.elements++)
    this.countControllers()
    this.onResource("fibermeter", () => counted.captures++)
  }

  protected onCall(holder: object, name: string, see: (self: unknown) => void): void {
    const methods = holder as Record<string, Method | undefined>
    const method = methods[name]
    if (method === undefined) throw new Error(`there is no ${name} to be counted any more`)
    methods[name] = function (...args) {
      see(this)
      return method.apply(this, args)
    }
    this.afterwards(() => {
      methods[name] = method
    })
  }

  /** An async resource of that type is made. */
  protected onResource(type: string, see: () => void): void {
    const hook = createHook({
      init: (_, made) => {
        if (made === type) see()
      }
    })
    hook.enable()
    this.afterwards(() => hook.disable())
  }

  /** Puts back what is counted no longer: the last first. */
  protected afterwards(undo: () => void): void {
    this.undo.push(undo)
  }

  private countControllers(): void {
    const { AbortController } = globalThis
    const made = () => this.counted.controllers++
    globalThis.AbortController = class extends AbortController {
      constructor() {
        super()
        made()
      }
    }
    this.afterwards(() => {
      globalThis.AbortController = AbortController
    })
  }

  /** No method is called to look at an element of an array: the array is put behind something that sees it. */
  private countPlaces(list: { entries: Array<unknown> }): void {
    if (this.seen.has(list.entries)) return
    if (!Array.isArray(list.entries)) throw new Error("a wait list has no entries to count")
    list.entries = countedPlaces(list.entries, this.counted)
    this.seen.add(list.entries)
  }
}

/** Each of `count` may have made as much work as `forEach` says, and all of them together `onTop` besides. */
export const expectAtMost = <Work extends Counts>(count: number, work: Work, forEach: Work, onTop: Work): void => {
  for (const kind of Object.keys(work) as Array<keyof Work & string>) {
    const most = (forEach[kind] as number) * count + (onTop[kind] as number)
    expect(work[kind], `${kind}, for ${count}`).toBeLessThanOrEqual(most)
  }
}

/** Nothing is counted that is never seen: for a scenario in which all of it happens. */
export const expectAllSeen = (work: Counts): void => {
  for (const [kind, count] of Object.entries(work)) expect(count, kind).toBeGreaterThan(0)
}
