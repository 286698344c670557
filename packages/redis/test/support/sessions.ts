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

/** A time in which a process stood still for longer than its lease, with tasks that ran when it began. */
interface Freeze {
  readonly process: Process
  readonly until: number
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
  /** Probability that a task takes up to two leases instead. */
  readonly longTasks?: number
  /** Probability that a message, and that a reply, is lost; of each half, the client says so. */
  readonly loss?: number
  /** Probability that a message, a reply or a wake-up takes up to 3 seconds, so that later ones overtake it. */
  readonly delays?: number
  /** Probability that a message arrives a second time, up to 3 seconds later. */
  readonly duplicates?: number
  readonly crashes?: number
  /** Processes that begin at random times, beside the first ones. */
  readonly joins?: number
  readonly freezes?: number
  readonly losses?: number
  readonly rollbacks?: number
  /** Times in which nothing reaches the store. */
  readonly cuts?: number
  /** Times in which nothing of one process does. */
  readonly loneCuts?: number
  readonly stall?: number
  /** Each process stands still time and again, for no longer than that. */
  readonly lag?: number
  readonly corrections?: boolean
  /** Probability that a waiter gives up before it starts. */
  readonly impatience?: number
  readonly pauses?: number
  /** Steps of the store's clock, each in microseconds. */
  readonly steps?: ReadonlyArray<number>
  /** State may be lost while there are processes that do not know it, of which nothing but a bound is promised. */
  readonly unseen?: boolean
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
  /** How often state was lost. */
  lost = 0
  readonly freezes: Array<Freeze> = []
  /** By how much the store's clock has been set. */
  private stepped = 0
  /** While state is lost and no process that knew it has sent a message: when the state's last quarantine ended. */
  private unnoticed: number | undefined
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
    times(setting.loneCuts, () => {
      random.pick(this.processes).cutUntil = this.now + random.next() * 2_000_000
    })
    times(setting.pauses, () => random.pick(this.processes).pause())
    times(setting.joins, () => this.join())
    for (const step of setting.steps ?? []) sometime(() => (this.stepped += step))
    times(setting.losses, () => this.lose(undefined))
    for (let index = 0; index < (setting.rollbacks ?? 0); index++) {
      const at = random.next() * setting.duration
      this.after(at, () => (this.saved = structuredClone(this.state)))
      this.after(at + random.next() * 300_000, () => {
        if (this.saved !== undefined) this.lose(structuredClone(this.saved))
      })
    }
    await this.pass(until)
  }

  /** What happens in that time. */
  private async pass(time: number): Promise<void> {
    const end = this.now + time
    while (this.queue.length > 0 && this.queue[0]!.at <= end) {
      const event = this.queue.shift()!
      this.now = event.at
      event.run()
      for (let turn = 0; turn < 8; turn++) await Promise.resolve()
    }
    this.now = end
  }

  /** The state becomes an earlier one, or none. */
  private lose(earlier: State | undefined): void {
    const { processes, setting, state } = this
    // Whichever process is next to send a message has to know that something is missing. Nothing but a bound is promised otherwise.
    const isKnown = processes.every(
      ({ generation, isDead, knows }) =>
        isDead ||
        (generation > 0 &&
          (earlier === undefined ||
            (generation === earlier.generation && generation === state?.generation && knows > earlier.tick)))
    )
    if (!isKnown && setting.unseen !== true) return
    this.lost++
    this.state = earlier
    this.unnoticed = earlier?.quarantine ?? 0
  }

  private join(): void {
    // A new process would know nothing of it.
    if (this.unnoticed !== undefined && this.setting.unseen !== true) return
    this.processes.push(new Process(this))
  }

  /** All processes end, as programs do that close their meters. What is left is in `state`. */
  async close(): Promise<void> {
    const closed = this.processes.filter(({ isDead }) => !isDead).map((process) => process.close())
    await this.pass(10_000_000)
    await Promise.all(closed)
  }

  receive(message: Message): Answer {
    this.messages++
    const { answer, state, wakes } = advance(this.state, message, Math.floor(this.now + this.stepped))
    this.state = state
    if (state !== undefined && state.quarantine !== this.unnoticed) this.unnoticed = undefined
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
    if (this.random.chance(this.setting.delays ?? 0)) return this.random.next() * longestDelay
    return least + this.random.next() ** 3 * (most - least)
  }
}

/** Longer than a lease, and than a process waits until it sends a message again. */
const longestDelay = 3_000_000

const isLater = (one: Event, other: Event): boolean =>
  one.at > other.at || (one.at === other.at && one.order > other.order)

/** In milliseconds. */
export const lease = 1_000

class Process {
  readonly world: World
  readonly listeners = new Map<string, () => void>()
  /** The tick of the last answer of the latest generation. */
  knows = 0
  generation = 0
  /** When it learned that it had lost its lease. */
  readonly told: Array<number> = []
  isDead = false
  cutUntil = 0
  private readonly session: Session
  private readonly rate: number
  private readonly offset: number
  /** As after a freeze, but it is short, so that what it holds stays its own. */
  private lateUntil = 0
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
    const onEvent = (event: StoreEvent): void => {
      world.events.push(event)
      if (event.type === "leaseLost") this.told.push(world.now)
    }
    const options = readOptions({ onEvent, lease, ...setting.options })
    const store = { exchange: (_: string, message: Message) => this.exchange(message), onWake: this.onWake }
    this.session = new Session(store, "api", setting.limits, options, () => `${name}.${++sessions}`)
    this.session.attach(this.meter)
    if (setting.lag !== undefined) this.standStill(setting.lag)
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

  private standStill(lag: number): void {
    const { duration } = this.world.setting
    let left = Math.ceil((3 * duration) / lag)
    const again = (): void => {
      this.lateUntil = this.world.now + this.world.random.next() * lag
      if (left-- > 0) this.world.after(lag + this.world.random.next() * lag, again)
    }
    again()
  }

  /** Unlike a crashed process, a frozen one continues with what was due, in the same order. */
  private after(local: number, f: () => void): () => void {
    let isCancelled = false
    const run = (): void => {
      if (isCancelled || this.isDead) return
      const until = Math.max(this.frozenUntil, this.lateUntil)
      if (this.world.now < until) this.world.after(until - this.world.now, run)
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
    const isLost = (): boolean => world.random.chance(loss) || world.now < Math.max(world.cutUntil, this.cutUntil)
    return new Promise((resolve, reject) => {
      const fail = (): void => {
        if (world.random.chance(0.5)) this.after(world.latency(), () => reject(new Error("the connection is lost")))
      }
      if (isLost()) {
        fail()
        return
      }
      if (world.random.chance(world.setting.duplicates ?? 0)) {
        world.after(world.random.next() * longestDelay, () => void world.receive(message))
      }
      world.after(world.latency(), () => {
        const answer = world.receive(message)
        if (isLost()) {
          fail()
          return
        }
        this.after(world.latency(), () => {
          if (answer.generation > this.generation) this.knows = 0
          this.generation = Math.max(answer.generation, this.generation)
          if (answer.generation === this.generation) this.knows = Math.max(answer.tick, this.knows)
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
    const [least, most] = random.chance(setting.longTasks ?? 0) ? [0, 2_000 * lease] : setting.taskTime
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
    const { now, random } = this.world
    if (this.isDead || now < this.frozenUntil) return
    this.frozenSince = now
    this.frozenUntil = now + random.next() * 2_000_000
    // Without permits, there is no lease to lose.
    const holds = this.running.size > 0 && this.world.setting.limits.maxAtOnce < Infinity
    if (holds && this.frozenUntil - now > lease * 1_000) {
      this.world.freezes.push({ process: this, until: this.frozenUntil })
    }
  }

  close(): Promise<void> {
    return this.session.close()
  }

  pause(): void {
    if (this.isDead || this.world.now < this.frozenUntil) return
    this.session.pause(this.world.random.chance(0.3) ? 0 : this.world.random.next() * 500_000_000)
    this.check()
  }
}
