/**
 * Virtual time for a program that reads the globals of JavaScript: it passes as fast as the program runs. Timers fire in
 * the order of their instants, and at one instant in the order in which they were set.
 *
 * To be installed where nothing else uses timers, such as a worker. What is installed has the mark of Sinon's fake timers,
 * by which `@fibermeter/promise` recognises a test's clock.
 */

interface Timer {
  readonly id: number
  at: number
  readonly f: () => void
  /** The interval between two calls of `setInterval`. */
  readonly every: number | undefined
}

export interface VirtualTime {
  /** Milliseconds since it was installed. */
  readonly now: () => number
  /** Lets everything happen that takes no time. Then fires the next timer; `false` if there is none. */
  readonly step: () => Promise<boolean>
  readonly uninstall: () => void
}

/** Resolves in a later turn of the event loop, when all promise reactions of now have run. */
const nextTurn = (): { readonly wait: () => Promise<void>; readonly close: () => void } => {
  const { port1, port2 } = new MessageChannel()
  let resolve = (): void => {}
  port1.addEventListener("message", () => resolve())
  port1.start()
  return {
    wait: () =>
      new Promise((done) => {
        resolve = done
        port2.postMessage(undefined)
      }),
    close: () => port1.close()
  }
}

export const installVirtualTime = (): VirtualTime => {
  const turn = nextTurn()
  const timers = new Map<number, Timer>()
  let ids = 0
  let time = 0
  const mark = { virtual: true }

  const set = (f: () => void, millis: unknown, every: boolean): number => {
    // As in browsers and Node: whole milliseconds, and an interval of at least one.
    const delay = Math.max(every ? 1 : 0, Math.trunc(Number(millis)) || 0)
    const id = ++ids
    timers.set(id, { id, at: time + delay, f, every: every ? delay : undefined })
    return id
  }
  const clear = (id: unknown): void => void timers.delete(id as number)

  const RealDate = Date
  const begun = RealDate.UTC(2026, 0, 1)
  class VirtualDate extends RealDate {
    static clock = mark
    constructor(...args: ReadonlyArray<never>) {
      if (args.length === 0) super(begun + time)
      else super(...(args as unknown as [number]))
    }
    static override now(): number {
      return begun + time
    }
  }

  const marked = <F extends object>(f: F): F => Object.assign(f, { clock: mark })
  const fakes: Readonly<Record<string, unknown>> = {
    setTimeout: marked((f: () => void, millis?: number, ...args: ReadonlyArray<unknown>) =>
      set(() => Reflect.apply(f, undefined, args), millis, false)
    ),
    clearTimeout: marked(clear),
    setInterval: marked((f: () => void, millis?: number, ...args: ReadonlyArray<unknown>) =>
      set(() => Reflect.apply(f, undefined, args), millis, true)
    ),
    clearInterval: marked(clear),
    Date: VirtualDate
  }
  const kept = new Map<string, PropertyDescriptor | undefined>()
  for (const [name, value] of Object.entries(fakes)) {
    kept.set(name, Object.getOwnPropertyDescriptor(globalThis, name))
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
  }
  const ownNow = Object.getOwnPropertyDescriptor(performance, "now")
  Object.defineProperty(performance, "now", { value: marked(() => time), configurable: true, writable: true })

  const next = (): Timer | undefined => {
    let first: Timer | undefined
    for (const timer of timers.values()) {
      if (first === undefined || timer.at < first.at) first = timer
    }
    return first
  }

  return {
    now: () => time,
    step: async () => {
      await turn.wait()
      const timer = next()
      if (timer === undefined) return false
      time = Math.max(time, timer.at)
      if (timer.every === undefined) timers.delete(timer.id)
      else timer.at = time + timer.every
      timer.f()
      return true
    },
    uninstall: () => {
      turn.close()
      for (const [name, descriptor] of kept) {
        if (descriptor === undefined) Reflect.deleteProperty(globalThis, name)
        else Object.defineProperty(globalThis, name, descriptor)
      }
      if (ownNow === undefined) Reflect.deleteProperty(performance, "now")
      else Object.defineProperty(performance, "now", ownNow)
    }
  }
}
