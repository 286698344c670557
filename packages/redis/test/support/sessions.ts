/**
 * The sessions themselves in a simulated world: as `simulation.ts`, but what each process does is the code of the package.
 * Events are in virtual time, and after each of them all promises are given their turn.
 */
import type { Use } from "./counting.ts"
import { advance } from "../../src/protocol/advance.ts"
import type { Answer, Message } from "../../src/protocol/message.ts"
import type { State } from "../../src/protocol/state.ts"
import { drift } from "../../src/protocol/storeClock.ts"
import type { Meter, MeterLimits, Wish } from "../../src/session/ExternalLimit.ts"
import type { StoreEvent, StoreOptions } from "../../src/session/options.ts"
import { readOptions } from "../../src/session/options.ts"
import { Session } from "../../src/session/Session.ts"
import type { Random } from "./random.ts"

export interface Start {
  readonly at: number
  readonly costs: Readonly<Record<string, number>>
  readonly weight: number
}

export interface Setting {
  readonly limits: MeterLimits
  readonly processes: number
  /** How many calls each process makes, of one task or of several. */
  readonly calls: number
  /** Over how many microseconds. */
  readonly duration: number
  readonly latency: readonly [least: number, most: number]
  readonly taskTime: readonly [least: number, most: number]
  /** Probability that a message, and that a reply, is lost; of each half, the client says so. */
  readonly loss?: number
  readonly crashes?: number
  readonly freezes?: number
  readonly losses?: number
  readonly rollbacks?: number
  /** Times in which nothing reaches the store. */
  readonly cuts?: number
  readonly stall?: number
  readonly corrections?: boolean
  /** Probability that a waiter gives up before it starts. */
  readonly impatience?: number
  readonly pauses?: number
  readonly options?: StoreOptions
}

interface Event {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

interface Task extends Wish {
  readonly cost: Readonly<Record<string, number>>
}

export class World {
  readonly random: Random
  readonly setting: Setting
  readonly starts: Array<Start> = []
  readonly uses: Array<Use> = []
  readonly events: Array<StoreEvent> = []
  /** From when to when the meter was paused, as the store decided. */
  readonly pauses: Array<{ readonly from: number; readonly to: number }> = []
  asked = 0
  /** Tasks that gave up, and those of processes that have crashed. */
  dropped = 0
  messages = 0
  state: State | undefined
  now = 1_000_000_000
  readonly processes: Array<Process> = []
  cutUntil = 0
  private readonly queue: Array<Event> = []
  private order = 0
  private saved: State | undefined

  constructor(random: Random, setting: Setting) {
    this.random = random
    this.setting = setting
  }

  after(delay: number, run: () => void): void {
    const event = { at: this.now + Math.max(0, delay), order: this.order++, run }
    let index = this.queue.length
    while (index > 0 && isLater(this.queue[index - 1]!, event)) index--
    this.queue.splice(index, 0, event)
  }

  async run(until: number): Promise<void> {
    const { random, setting } = this
    for (let index = 0; index < setting.processes; index++) this.processes.push(new Process(this))
    const sometime = (run: () => void): void => this.after(random.next() * setting.duration, run)
    const times = (count: number | undefined, run: () => void): void => {
      for (let index = 0; index < (count ?? 0); index++) sometime(run)
    }
    times(setting.crashes, () => random.pick(this.processes).crash())
    times(setting.freezes, () => random.pick(this.processes).freeze())
    times(setting.cuts, () => (this.cutUntil = this.now + random.next() * 2_000_000))
    times(setting.pauses, () => random.pick(this.processes).pause())
    times(setting.losses, () => {
      // A process that has never had an answer could not know what was lost.
      if (this.processes.every(({ hasHeard }) => hasHeard)) this.state = undefined
    })
    for (let index = 0; index < (setting.rollbacks ?? 0); index++) {
      const at = random.next() * setting.duration
      this.after(at, () => (this.saved = structuredClone(this.state)))
      this.after(at + random.next() * 300_000, () => {
        if (this.saved !== undefined) this.state = structuredClone(this.saved)
      })
    }
    const end = this.now + until
    for (let event = this.queue.shift(); event !== undefined && event.at <= end; event = this.queue.shift()) {
      this.now = event.at
      event.run()
      for (let turn = 0; turn < 8; turn++) await Promise.resolve()
    }
  }

  receive(message: Message): Answer {
    this.messages++
    const { answer, state, wakes } = advance(this.state, message, Math.floor(this.now))
    this.state = state
    if (message.pause > 0) this.pauses.push({ from: this.now, to: answer.paused })
    if (message.pause === 0) this.pauses.push({ from: this.now, to: this.now })
    for (const id of wakes) {
      if (this.random.chance(this.setting.loss ?? 0)) continue
      this.after(this.latency(), () => {
        for (const process of this.processes) process.listeners.get(id)?.()
      })
    }
    return structuredClone(answer)
  }

  latency(): number {
    const [least, most] = this.setting.latency
    return least + this.random.next() ** 3 * (most - least)
  }
}

const isLater = (one: Event, other: Event): boolean =>
  one.at > other.at || (one.at === other.at && one.order > other.order)

class Process {
  readonly world: World
  readonly listeners = new Map<string, () => void>()
  hasHeard = false
  private readonly session: Session
  private readonly rate: number
  private readonly offset: number
  private isDead = false
  private frozenSince = 0
  private frozenUntil = 0
  private readonly waiting: Array<Task> = []
  private readonly running = new Set<{ readonly from: number; readonly weight: number; over: boolean }>()
  private cancelTimer: (() => void) | undefined

  constructor(world: World) {
    this.world = world
    const { random, setting } = world
    this.rate = 1 + (random.next() * 2 - 1) * drift * 0.9
    this.offset = random.next() * 1e9
    let sessions = 0
    const name = `p${world.processes.length}`
    const options = readOptions({ onEvent: (event) => world.events.push(event), lease: 1_000, ...setting.options })
    const store = { exchange: (_: string, message: Message) => this.exchange(message), onWake: this.onWake }
    this.session = new Session(store, "api", setting.limits, options, () => `${name}.${++sessions}`)
    this.session.attach(this.meter)
    for (let index = 0; index < setting.calls; index++) {
      world.after(random.next() ** 2 * setting.duration, () => this.call())
    }
  }

  private get meter(): Meter {
    return {
      now: () => (this.offset + this.world.now * this.rate) * 1_000,
      after: (nanos, f) => this.after(nanos / 1_000, f),
      wishes: () => this.waiting,
      wake: () => this.check(),
      fail: () => {},
      recover: () => this.check(),
      resized: () => {},
      interrupt: () => this.interrupt(),
      event: () => {}
    }
  }

  /** Unlike a crashed process, a frozen one continues with what was due, in the same order. */
  private after(local: number, f: () => void): () => void {
    let isCancelled = false
    const run = (): void => {
      if (isCancelled || this.isDead) return
      if (this.world.now < this.frozenUntil) this.world.after(this.frozenUntil - this.world.now, run)
      else f()
    }
    this.world.after(local / this.rate, run)
    return () => {
      isCancelled = true
    }
  }

  private exchange(message: Message): Promise<Answer> {
    const { world } = this
    const loss = world.setting.loss ?? 0
    const isLost = (): boolean => world.random.chance(loss) || world.now < world.cutUntil
    return new Promise((resolve, reject) => {
      const fail = (): void => {
        if (world.random.chance(0.5)) this.after(world.latency(), () => reject(new Error("the connection is lost")))
      }
      if (isLost()) {
        fail()
        return
      }
      world.after(world.latency(), () => {
        const answer = world.receive(message)
        if (isLost()) {
          fail()
          return
        }
        this.after(world.latency(), () => {
          this.hasHeard = true
          resolve(answer)
        })
      })
    })
  }

  private readonly onWake = (_: string, session: string, listener: () => void): (() => void) => {
    this.listeners.set(session, () => this.after(0, listener))
    return () => this.listeners.delete(session)
  }

  private call(): void {
    if (this.isDead) return
    const { random, setting } = this.world
    const { maxAtOnce, windows } = setting.limits
    const count = random.chance(0.7) ? random.int(1, 4) : random.int(1, 40)
    const permits = maxAtOnce < Infinity && random.chance(0.1) ? random.int(1, maxAtOnce) : 1
    const cost: Record<string, number> = {}
    for (const [name, { limit }] of Object.entries(windows)) {
      cost[name] = random.chance(0.2) ? 0 : random.int(1, Math.max(1, limit / 8))
    }
    this.world.asked += count
    for (let index = 0; index < count; index++) {
      const task = { cost, permits, wanted: 1 }
      this.waiting.push(task)
      if (random.chance(setting.impatience ?? 0)) {
        this.after(random.next() * 300_000, () => {
          const index = this.waiting.indexOf(task)
          if (index < 0) return
          this.world.dropped++
          this.waiting.splice(index, 1)
          this.check()
          if (this.waiting.length === 0) this.session.rest()
        })
      }
      this.session.added()
    }
    // Its process asks when it is not frozen.
    this.after(0, () => this.check())
  }

  /** As a limiter does it. */
  private check(): void {
    this.cancelTimer?.()
    this.cancelTimer = undefined
    for (let first = this.waiting[0]; first !== undefined; first = this.waiting[0]) {
      const nanos = this.session.opensIn(first)
      if (nanos > 0) {
        if (nanos < Infinity) this.cancelTimer = this.after(nanos / 1_000, () => this.check())
        return
      }
      this.waiting.shift()
      this.start(first)
    }
    this.session.rest()
  }

  private start(task: Task): void {
    const { random, setting, starts, uses } = this.world
    const grant = this.session.take(task)
    const costs = { ...task.cost }
    const at = this.world.now + random.next() ** 4 * (setting.stall ?? 100)
    starts.push({ at, costs, weight: task.permits })
    // Everything else of this process is as late as the start.
    const { now } = this.world
    this.world.now = at + random.next() * 50
    this.session.started(grant)
    this.world.now = now
    const running = { from: at, weight: task.permits, over: false }
    this.running.add(running)
    if (setting.corrections === true && random.chance(0.3)) {
      for (const name of Object.keys(costs)) costs[name] = random.int(0, costs[name]!)
      this.session.correct(grant, { ...costs })
    }
    const [least, most] = setting.taskTime
    this.after(at - now + random.next() * (most - least) + least, () => {
      if (running.over) return
      running.over = true
      this.running.delete(running)
      uses.push({ from: at, to: Math.max(at, this.usedUntil), weight: task.permits })
      this.session.ended(task.permits)
      this.check()
    })
  }

  /** A process that is frozen, or has just woken, has used nothing meanwhile: what it holds may be another's by now. */
  private get usedUntil(): number {
    return this.frozenUntil >= this.world.now ? this.frozenSince : this.world.now
  }

  /** The lease is over. */
  private interrupt(): void {
    const to = this.usedUntil
    for (const running of this.running) {
      running.over = true
      this.world.uses.push({ from: running.from, to: Math.max(running.from, to), weight: running.weight })
      // It ends at once, as it is cancelled; the meter says so in a later step.
      this.after(0, () => this.session.ended(running.weight))
    }
    this.running.clear()
  }

  crash(): void {
    if (this.isDead) return
    this.isDead = true
    for (const { from, weight } of this.running) {
      this.world.uses.push({ from, to: Math.max(from, this.usedUntil), weight })
    }
    this.world.dropped += this.waiting.length
    this.listeners.clear()
  }

  freeze(): void {
    if (this.world.now < this.frozenUntil) return
    this.frozenSince = this.world.now
    this.frozenUntil = this.world.now + this.world.random.next() * 2_000_000
  }

  pause(): void {
    if (this.isDead || this.world.now < this.frozenUntil) return
    this.session.pause(this.world.random.chance(0.3) ? 0 : this.world.random.next() * 500_000_000)
    this.check()
  }
}
