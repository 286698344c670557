/**
 * Counts the work that is done while tasks run, by kind: what a program pays for and can observe, without knowledge of the
 * code. (How often the code itself runs is counted by `count-work.ts`.) The tests of both packages use it, and add what
 * only one of them has.
 */
import { createHook } from "node:async_hooks"
import { expect } from "vitest"

export interface Counts {
  /** Steps of the scheduler. */
  steps: number
  timers: number
  /** Readings of the clock. */
  reads: number
  /** Elements of arrays, sets and maps that their methods and iterators have visited or moved. */
  elements: number
  /** Async contexts that were captured. */
  captures: number
  controllers: number
}

export const noCounts: Counts = {
  steps: 0,
  timers: 0,
  reads: 0,
  elements: 0,
  captures: 0,
  controllers: 0
}

type Method = (this: unknown, ...args: Array<unknown>) => unknown

/** Methods whose time grows with the size of their object. */
const linear: ReadonlyArray<readonly [prototype: object, names: string]> = [
  [Array.prototype, "every find findIndex findLast findLastIndex includes indexOf lastIndexOf some"],
  [Array.prototype, "concat filter flat flatMap forEach join map reduce reduceRight slice"],
  [Array.prototype, "copyWithin fill reverse shift sort splice unshift"],
  [Array.prototype, "toReversed toSorted toSpliced with"],
  [Set.prototype, "forEach"],
  [Map.prototype, "forEach"]
]

/** The iterators of `for…of` and spreads, which visit one element at a time. */
const iterators: ReadonlyArray<object> = [[], new Set(), new Map()].map((each) =>
  Object.getPrototypeOf(each[Symbol.iterator]())
)

/** Counts while it is installed. */
export class Tally<Work extends Counts> {
  /** What this class counts itself. */
  protected readonly counted: Work
  private readonly undo: Array<() => void> = []
  private before: Work

  constructor(none: Work) {
    this.counted = { ...none }
    this.before = none
  }

  /** The work since the last call of `begin`. */
  get work(): Work {
    const work = { ...this.all } as Record<keyof Work, number>
    const before = this.before as Record<keyof Work, number>
    for (const kind in work) work[kind] -= before[kind]
    return work as Work
  }

  begin(): void {
    this.before = this.all
  }

  /** Counts while `scenario` runs. */
  async during(scenario: () => Promise<unknown>): Promise<void> {
    try {
      this.install()
      await scenario()
    } finally {
      for (const undo of this.undo.splice(0).toReversed()) undo()
    }
  }

  /** All work. */
  protected get all(): Work {
    return { ...this.counted }
  }

  protected install(): void {
    const { counted } = this
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
    if (method === undefined) throw new Error(`there is no method ${name} to count`)
    methods[name] = function (...args) {
      see(this)
      return method.apply(this, args)
    }
    this.afterwards(() => {
      methods[name] = method
    })
  }

  /** Calls `see` when an async resource of that type is created. */
  protected onResource(type: string, see: () => void): void {
    const hook = createHook({
      init: (_, made) => {
        if (made === type) see()
      }
    })
    hook.enable()
    this.afterwards(() => hook.disable())
  }

  /** Registers what removes a counter. The last one is removed first. */
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
}

/** Fails if the work exceeds `forEach` for each of `count`, plus `onTop` once. */
export const expectAtMost = <Work extends Counts>(count: number, work: Work, forEach: Work, onTop: Work): void => {
  for (const kind of Object.keys(work) as Array<keyof Work & string>) {
    const most = (forEach[kind] as number) * count + (onTop[kind] as number)
    expect(work[kind], `${kind}, for ${count}`).toBeLessThanOrEqual(most)
  }
}

/** Fails if a kind of work was not counted at all: for a scenario in which all of them happen. */
export const expectAllSeen = (work: Counts): void => {
  for (const [kind, count] of Object.entries(work)) expect(count, kind).toBeGreaterThan(0)
}
