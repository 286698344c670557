/**
 * Processes that share a meter, simulated in virtual time: each has a clock of its own that drifts, messages and replies take
 * times of their own or are lost, processes crash, freeze and come back, and tasks take time. The store is the function itself.
 *
 * Instants are microseconds of the store's clock, which is the one that limits are measured by. What a simulated process does
 * with its grants is what a client has to do (`docs/protocol.md`, "The session").
 */
import type { Use } from "./counting.ts"
import { advance } from "../../src/protocol/advance.ts"
import type { Limits } from "../../src/protocol/limits.ts"
import { encodeLimits, termsOf } from "../../src/protocol/limits.ts"
import type { Answer, Correction, Demand, Grant, Message, Report } from "../../src/protocol/message.ts"
import { protocolVersion, slotAt } from "../../src/protocol/message.ts"
import type { State } from "../../src/protocol/state.ts"
import { drift, StoreClock } from "../../src/protocol/storeClock.ts"
import type { Random } from "./random.ts"

export interface Start {
  readonly at: number
  readonly token: number
  /** As corrected. */
  readonly costs: Array<number>
  readonly batch: string
  readonly arrival: number
}

export interface Setting {
  readonly limits: Limits
  readonly sessions: number
  /** Batches that each process asks for, one after another at random times within `duration`. */
  readonly batches: number
  readonly duration: number
  readonly latency: readonly [least: number, most: number]
  readonly taskTime: readonly [least: number, most: number]
  /** Probability that a message, and that a reply, is lost. */
  readonly loss?: number
  readonly crashes?: number
  readonly freezes?: number
  /** Loses the state at random times, or rolls it back; only while no process is new. */
  readonly losses?: number
  readonly rollbacks?: number
  /** The longest time between the look at the clock and the start of a task. */
  readonly stall?: number
  /** Sets the store's clock once, by so much. */
  readonly step?: number
  readonly corrections?: boolean
}

interface Event {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

export class World {
  readonly random: Random
  readonly setting: Setting
  readonly starts: Array<Start> = []
  readonly uses: Array<Use> = []
  readonly errors: Array<string> = []
  readonly processes: Array<Process> = []
  state: State | undefined
  messages = 0
  asked = 0
  /** Tasks of processes that have crashed. */
  dropped = 0
  now = 1_000_000_000
  steps = 0
  private readonly events: Array<Event> = []
  private order = 0
  private stepped = 0
  private saved: State | undefined

  constructor(random: Random, setting: Setting) {
    this.random = random
    this.setting = setting
  }

  after(delay: number, run: () => void): void {
    const event = { at: this.now + Math.max(0, delay), order: this.order++, run }
    // A binary heap would be longer than what it saves: few events wait at once.
    let index = this.events.length
    while (index > 0 && before(event, this.events[index - 1]!)) index--
    this.events.splice(index, 0, event)
  }

  /** Runs until nothing is left to do, or until that time. */
  run(until: number): void {
    const { setting, random } = this
    for (let index = 0; index < setting.sessions; index++) {
      const process = new Process(this, `p${index}`)
      this.processes.push(process)
    }
    const sometime = (run: () => void): void => this.after(random.next() * setting.duration, run)
    for (let index = 0; index < (setting.crashes ?? 0); index++) sometime(() => random.pick(this.processes).crash())
    for (let index = 0; index < (setting.freezes ?? 0); index++) sometime(() => random.pick(this.processes).freeze())
    for (let index = 0; index < (setting.losses ?? 0); index++) {
      sometime(() => {
        // A process that has never had an answer could not know what was lost.
        if (this.processes.every(({ knows }) => knows)) this.state = undefined
      })
    }
    for (let index = 0; index < (setting.rollbacks ?? 0); index++) {
      const at = random.next() * setting.duration
      this.after(at, () => (this.saved = structuredClone(this.state)))
      this.after(at + random.next() * 300_000, () => (this.state = structuredClone(this.saved)))
    }
    if (setting.step !== undefined) sometime(() => (this.stepped = setting.step!))
    const end = this.now + until
    for (let event = this.events.pop(); event !== undefined && event.at <= end; event = this.events.pop()) {
      this.now = event.at
      event.run()
    }
  }

  /** The store gets a message. */
  receive(message: Message): Answer {
    this.messages++
    const { state, answer, wakes } = advance(this.state, message, Math.floor(this.now + this.stepped))
    this.state = state
    for (const id of wakes) {
      const process = this.processes.find(({ session }) => session === id)
      // Wake-ups are hints, and may be lost.
      if (process !== undefined && !this.random.chance(this.setting.loss ?? 0))
        this.after(this.latency(), () => process.speak())
    }
    return answer
  }

  latency(): number {
    const [least, most] = this.setting.latency
    return least + this.random.next() ** 3 * (most - least)
  }
}

/** Later events come first, as the array is used from its end. */
const before = (one: Event, other: Event): boolean =>
  one.at > other.at || (one.at === other.at && one.order > other.order)

interface Batch {
  readonly name: string
  readonly weight: number
  readonly costs: ReadonlyArray<number>
  arrival: number
  /** Asked for, not granted. */
  count: number
}

interface Grants {
  readonly grant: Grant
  readonly batch: Batch
  next: number
  unused: number
  late: number
}

/** Between the last look at the clock and the end of the slack. */
const guard = 2_000

class Process {
  readonly world: World
  readonly name: string
  session = ""
  knows = false
  private readonly rate: number
  private readonly offset: number
  private readonly terms
  private clock = new StoreClock()
  private dead = false
  private frozenUntil = 0
  private life = 0
  private seq = 0
  private inFlight: { readonly message: Message; readonly sent: number } | undefined
  private generation = 0
  private tick = 0
  private leaseEnds = 0
  private paused = 0
  private batch = 0
  private readonly batches = new Map<number, Batch>()
  private declared = new Set<number>()
  private grants: Array<Grants> = []
  private reports: Array<Report> = []
  private corrections: Array<Correction> = []
  private ended = 0
  private held = 0
  private running = new Set<{ readonly from: number; readonly weight: number }>()

  constructor(world: World, name: string) {
    this.world = world
    this.name = name
    const { random, setting } = world
    // Each of the two clocks may be off by half of what the proof allows.
    this.rate = 1 + (random.next() * 2 - 1) * drift * 0.9
    this.offset = random.next() * 1e9
    this.terms = termsOf(encodeLimits(setting.limits))
    this.join()
    for (let index = 0; index < setting.batches; index++) {
      world.after(random.next() ** 2 * setting.duration, () => this.ask())
    }
  }

  private local(at = this.world.now): number {
    return this.offset + at * this.rate
  }

  /** Calls back at a local time, or when the process is no longer frozen; not in another life. */
  private at(local: number, run: () => void): void {
    const { life } = this
    const wake = (): void => {
      if (this.dead || life !== this.life) return
      if (this.world.now < this.frozenUntil) this.world.after(this.frozenUntil - this.world.now, wake)
      else run()
    }
    this.world.after((local - this.local()) / this.rate, wake)
  }

  private join(): void {
    this.life++
    this.session = `${this.name}.${this.life}`
    this.seq = 0
    this.inFlight = undefined
    this.leaseEnds = Infinity
    this.grants = []
    this.reports = []
    this.corrections = []
    this.ended = 0
    this.held = 0
    this.declared = new Set()
  }

  private ask(): void {
    if (this.dead) return
    const { random, setting } = this.world
    const { permits, windows } = setting.limits
    const count = random.chance(0.7) ? random.int(1, 4) : random.int(1, 40)
    this.world.asked += count
    this.batches.set(++this.batch, {
      name: `${this.name}/${this.batch}`,
      weight: permits > 0 ? random.int(1, random.chance(0.9) ? 1 : permits) : 0,
      costs: windows.map(({ limit }) => (random.chance(0.2) ? 0 : random.int(1, Math.max(1, limit / 8)))),
      arrival: 0,
      count
    })
    this.speak()
  }

  crash(): void {
    if (this.dead) return
    this.checkLease()
    this.dead = true
    this.loseTasks(this.world.now)
    for (const { count } of this.batches.values()) this.world.dropped += count
    for (const { grant, next } of this.grants) this.world.dropped += grant.count - next
  }

  freeze(): void {
    this.frozenUntil = this.world.now + this.world.random.next() * 2 * this.terms.lease
  }

  /** Its tasks are interrupted: they hold permits no longer than until then. */
  private loseTasks(to: number): void {
    for (const { from, weight } of this.running) this.world.uses.push({ from, to: Math.max(from, to), weight })
    this.running.clear()
  }

  /** The lease is over: what was granted is void, and what waits is declared in a new session. */
  private checkLease(): boolean {
    if (this.local() < this.leaseEnds) return true
    this.loseTasks(this.world.now - (this.local() - this.leaseEnds) / this.rate)
    for (const { batch, grant, next } of this.grants) {
      batch.count += grant.count - next
    }
    this.join()
    return false
  }

  /** Sends a message, unless one is under way or there is nothing to say. */
  speak(): void {
    if (this.dead || this.world.now < this.frozenUntil) return
    this.checkLease()
    if (this.inFlight !== undefined) return
    const demand: Array<Demand> = []
    for (const [id, { arrival, costs, count, weight }] of this.batches) {
      if (this.declared.has(id) || count === 0) continue
      this.declared.add(id)
      demand.push({ batch: id, count, weight, arrival, costs })
    }
    if (this.seq === 0 && demand.length === 0) return
    const { reports, corrections, ended } = this
    this.reports = []
    this.corrections = []
    this.ended = 0
    this.seq++
    const message: Message = {
      version: protocolVersion,
      session: this.session,
      seq: this.seq,
      generation: this.generation,
      tick: this.tick,
      limits: encodeLimits(this.world.setting.limits),
      resized: "",
      revision: 1,
      held: this.held,
      ended,
      visit: 0,
      pause: -1,
      leave: false,
      resize: "",
      reports,
      corrections,
      withdrawn: [],
      demand
    }
    this.inFlight = { message, sent: this.local() }
    this.transmit(message)
  }

  private transmit(message: Message): void {
    const { random, setting } = this.world
    const loss = setting.loss ?? 0
    if (!random.chance(loss)) {
      this.world.after(this.world.latency(), () => {
        const answer = this.world.receive(message)
        if (random.chance(loss)) return
        const { life } = this
        this.world.after(this.world.latency(), () => {
          if (life === this.life) this.at(this.local(), () => this.hear(message, answer))
        })
      })
    }
    this.at(this.local() + 100_000, () => {
      if (this.inFlight?.message !== message) return
      if (this.checkLease()) this.transmit(message)
      else this.speak()
    })
  }

  private hear(message: Message, answer: Answer): void {
    if (this.inFlight?.message !== message || answer.status === "stale") return
    if (answer.status !== "ok") this.world.errors.push(`${this.session}: ${answer.status}`)
    const { sent } = this.inFlight
    this.inFlight = undefined
    if (!this.checkLease()) {
      this.speak()
      return
    }
    const steps = this.clock.steps
    this.clock.sample(sent, this.local(), answer.now)
    this.world.steps += this.clock.steps - steps
    this.knows = true
    this.generation = answer.generation
    this.tick = answer.tick
    this.paused = answer.paused
    this.leaseEnds = sent + this.terms.lease * (1 - drift)
    this.at(this.leaseEnds, () => {
      if (!this.checkLease()) this.speak()
    })
    for (const { batch, arrival } of answer.arrivals) this.batches.get(batch)!.arrival = arrival
    if (answer.adopted) this.declared = new Set()
    for (const grant of answer.grants) {
      const batch = this.batches.get(grant.batch)!
      batch.count -= grant.count
      this.held += grant.count * grant.weight
      if (batch.count < 0) this.world.errors.push(`${batch.name} was granted more than it asked for`)
      const taken = { grant, batch, next: 0, unused: 0, late: 0 }
      this.grants.push(taken)
      this.waitForSlot(taken)
    }
    const visit = answer.adopted ? 0 : answer.visit
    if (answer.adopted || visit > 0) this.at(this.local() + visit, () => this.speak())
    const pending = [...this.batches].some(([id, { count }]) => count > 0 && !this.declared.has(id))
    if (pending || this.ended > 0) this.speak()
  }

  private waitForSlot(taken: Grants): void {
    const slot = slotAt(taken.grant, taken.next)
    this.at(Math.max(this.local(), this.clock.reaches(slot)), () => {
      if (!this.checkLease()) {
        this.speak()
        return
      }
      this.useSlot(taken, slot)
    })
  }

  private useSlot(taken: Grants, slot: number): void {
    const { random, setting, starts } = this.world
    const { batch, grant } = taken
    const token = grant.id + taken.next
    const now = this.local()
    if (this.clock.least(now) < slot) {
      // The timer was early, by a rounding error or a step.
      this.at(now + 1, () => {
        if (this.checkLease()) this.useSlot(taken, slot)
        else this.speak()
      })
      return
    }
    taken.next++
    if (this.clock.most(now) > slot + this.terms.slack - guard || slot < this.paused) {
      // Too late: the demand is declared again, in its old place.
      taken.unused++
      this.ended += grant.weight
      this.held -= grant.weight
      const id = ++this.batch
      this.batches.set(id, { ...batch, count: 1 })
    } else {
      const at = this.world.now + random.next() ** 4 * (setting.stall ?? 100)
      const costs = [...batch.costs]
      starts.push({ at, token, costs, batch: batch.name, arrival: batch.arrival })
      const noticed = at + random.next() * 50
      taken.late = Math.max(taken.late, Math.ceil(this.clock.most(this.local(noticed)) - slot))
      const task = { from: at, weight: grant.weight }
      this.running.add(task)
      if (setting.corrections === true && random.chance(0.3)) {
        grant.entries.forEach((entry, log) => {
          if (entry === 0 || setting.limits.rate > 0) return
          const less = random.int(0, costs[log]!)
          costs[log]! -= less
          this.corrections.push({ log, entry, by: -less })
        })
      }
      const [least, most] = setting.taskTime
      this.at(this.local(noticed) + random.next() * (most - least) + least, () => {
        // A process that was frozen learns that it has lost its lease before anything else.
        if (!this.checkLease()) this.speak()
        if (!this.running.delete(task)) return
        this.world.uses.push({ from: task.from, to: this.world.now, weight: task.weight })
        this.ended += grant.weight
        this.held -= grant.weight
        if (grant.weight > 0) this.speak()
      })
    }
    if (taken.next < grant.count) {
      this.waitForSlot(taken)
    } else {
      this.reports.push({ grant: grant.id, late: taken.late, unused: taken.unused })
      this.grants.splice(this.grants.indexOf(taken), 1)
      this.speak()
    }
  }
}
