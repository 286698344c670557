/**
 * Executes a random program and watches it with an account of its own: what runs, what has been spent, what may start.
 * It knows the contract and nothing of the implementation.
 *
 * **Safety**, at each start and at each end: no limit is broken, nothing starts under a pause, on a closed meter or after
 * its call has ended, calls of `run` are admitted in order, and each call ends once, with what its tasks gave or with
 * a reason that there is.
 *
 * **Liveness**, at each instant: what was aborted, cleared or closed has ended, and no task waits whose meters all have room
 * unless an earlier task that needs several meters may have kept it. In the end, when all timers have run, no task
 * waits while its meters have room, at all. A program whose tasks cannot wait for each other in a circle has then ended
 * altogether; of any other, all has ended when the meters have been closed.
 */
import { getEventListeners } from "node:events"
import { vi } from "vitest"
import { amap, createMeter, OverloadedError, runAll, runAny, runOnEach } from "../../src/index.ts"
import type { Meter, MeterLimits } from "../../src/index.ts"
import { isTimeoutError, now } from "../support.ts"
import { windowNames } from "./program.ts"
import type { Amounts, CallPlan, Control, MeterPlan, Program, Step, TaskPlan, WaitPlan, WindowName } from "./program.ts"

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

/** A meter, and what it has to know of it. */
class Account {
  readonly meter: Meter
  readonly hasWindow: boolean
  readonly windowName: WindowName
  maxAtOnce: number
  rate: number
  burst: number
  window: { limit: number; per: number } | undefined
  leastLimit: number
  leastAtOnce: number
  readonly waits: WaitPlan
  isDraining = false
  running = 0
  /** The permits of the tasks that run. */
  permitsInUse = 0
  started = 0
  /** What counts in the window, as far as any window has reached it since. */
  spent: Array<Spent> = []
  /** The starts since the rate was set. */
  paced: Array<number> = []
  pausedUntil = -Infinity
  closed: { readonly reason: unknown } | undefined
  /** The reasons of all `clear` and `close`. */
  readonly reasons = new Set<unknown>()

  constructor(plan: MeterPlan, number: number) {
    this.windowName = windowNames[number % 2]!
    this.meter = createMeter(this.limitsOf(plan))
    this.hasWindow = plan.window !== undefined
    this.maxAtOnce = plan.maxAtOnce ?? Infinity
    this.rate = plan.maxPerSecond ?? Infinity
    this.burst = plan.maxBurst ?? 1
    this.window = plan.window
    this.leastLimit = plan.window?.limit ?? Infinity
    this.leastAtOnce = this.maxAtOnce
    this.waits = plan.waits ?? {}
  }

  /** Whether it can be known that a task is not going to start soon. */
  get isTimed(): boolean {
    return this.rate !== Infinity || this.hasWindow
  }

  expire(): void {
    const { window } = this
    if (window !== undefined) this.spent = this.spent.filter(({ at }) => at + window.per > now())
  }

  /** What is left of the window; negative where a task has corrected its cost. */
  get room(): number {
    this.expire()
    return this.window === undefined
      ? Infinity
      : this.window.limit - this.spent.reduce((sum, { cost }) => sum + cost, 0)
  }

  get isPaused(): boolean {
    return this.pausedUntil > now()
  }

  /** Why a task of that cost and with so many permits must not start now, if so. */
  objection(cost: number, permits: number): string | undefined {
    if (this.closed !== undefined) return "is closed"
    if (this.isPaused) return "is paused"
    if (this.permitsInUse + permits > this.maxAtOnce) return `uses ${this.permitsInUse} of ${this.maxAtOnce} permits`
    if (this.room < cost) return `has room for ${this.room} of ${cost}`
    const most = Math.max(1, Math.floor(this.rate), this.burst)
    const before = this.paced.at(-most)
    if (before !== undefined && now() < before + (most * 1000) / this.rate) return `has started ${most} since ${before}`
    return undefined
  }

  resize(to: MeterPlan): void {
    this.expire()
    if (to.maxAtOnce !== undefined) this.maxAtOnce = to.maxAtOnce
    this.leastAtOnce = Math.min(this.leastAtOnce, this.maxAtOnce)
    if (to.maxPerSecond !== undefined) {
      this.rate = to.maxPerSecond
      this.paced = []
    }
    if (to.window !== undefined && this.hasWindow) {
      this.window = to.window
      this.leastLimit = Math.min(this.leastLimit, to.window.limit)
    }
    this.meter.resize(this.limitsOf(this.hasWindow ? to : { ...to, window: undefined }))
  }

  private limitsOf({ maxAtOnce, maxBurst, maxPerSecond, waits, window }: MeterPlan): MeterLimits {
    return {
      ...waits,
      ...(maxAtOnce === undefined ? {} : { maxAtOnce }),
      ...(maxPerSecond === undefined ? {} : { maxPerSecond }),
      ...(maxBurst === undefined ? {} : { maxBurst }),
      ...(window === undefined ? {} : { windows: { [this.windowName]: window } })
    }
  }
}

interface Spent {
  readonly name: WindowName
  readonly at: number
  cost: number
}

/** A task of a call. */
class TaskRecord {
  readonly plan: TaskPlan
  readonly index: number
  attempts = 0
  startedAt = NaN
  /** `"unknown"`: its attempt has timed out, and what follows is not reported. */
  state: "not started" | "running" | "between attempts" | "ended" | "unknown" = "not started"
  value: unknown
  /** All that its attempts threw before they were cancelled. */
  readonly reasons: Array<unknown> = []

  constructor(plan: TaskPlan, index: number) {
    this.plan = plan
    this.index = index
  }
}

type Outcome =
  | { readonly status: "fulfilled"; readonly value: any }
  | { readonly status: "rejected"; readonly reason: any }

class CallRecord {
  readonly number: number
  readonly plan: CallPlan
  readonly accounts: ReadonlyArray<Account>
  readonly tasks: ReadonlyArray<TaskRecord>
  readonly begunAt = now()
  /** One of its meters was being drained when it was called. */
  readonly isTooLate: boolean
  readonly controller: AbortController | undefined
  readonly signal: AbortSignal | undefined
  promise: Promise<unknown> | undefined
  outcome: Outcome | undefined
  /** Attempts that have been called and whose promise has not settled. */
  running = 0
  pulled = 0
  read = 0
  /** The most that `maxUnread` has been: a limit that is lowered leaves more started than it allows. */
  mostUnread = 0
  isReaderBusy = false
  hasLeft = false
  /** A task has failed, and with it the call. */
  hasFailed = false
  isCleared = false
  /** Aborted, while nothing else happened, before it had ended. */
  hasToReject = false
  iterator: AsyncIterableIterator<unknown> | undefined
  /** What `return()` has given. */
  leaving: Promise<unknown> | undefined
  source: "not opened" | "open" | "closed" = "not opened"

  constructor(number: number, plan: CallPlan, accounts: ReadonlyArray<Account>, signal: AbortSignal | undefined) {
    this.number = number
    this.plan = plan
    this.accounts = accounts
    this.isTooLate = accounts.some(({ isDraining }) => isDraining)
    this.tasks = (plan.verb === "run" ? plan.tasks.slice(0, 1) : plan.tasks).map((each, i) => new TaskRecord(each, i))
    this.controller = signal === undefined && plan.hasSignal ? new AbortController() : undefined
    this.signal = signal ?? this.controller?.signal
    this.noteUnread()
  }

  noteUnread(): void {
    this.mostUnread = Math.max(this.mostUnread, this.maxUnread)
  }

  get failures(): CallPlan["failures"] {
    const { failures, verb } = this.plan
    if (verb === "run" || (verb === "runOnEach" && failures === "are results")) return "end it"
    return verb === "runAny" ? "are collected" : failures
  }

  get started(): number {
    return this.tasks.filter(({ attempts }) => attempts > 0).length
  }

  /** What a task costs there. */
  costAt({ windowName }: Account): number {
    return this.plan.cost[windowName]
  }

  /** The amounts of the windows that its meters have; others have no name here. */
  namedHere(amounts: Amounts): Partial<Amounts> {
    const names = this.accounts.filter(({ hasWindow }) => hasWindow).map(({ windowName }) => windowName)
    return Object.fromEntries(names.map((name) => [name, amounts[name]]))
  }

  get isDrained(): boolean {
    return this.accounts.some(({ isDraining }) => isDraining)
  }

  /** How long it may wait. */
  get waitTimeout(): number {
    const { verb, waitTimeout = Infinity } = this.plan
    if (verb !== "run") return Infinity
    return Math.min(waitTimeout, ...this.accounts.map(({ waits }) => waits.waitTimeout ?? Infinity))
  }

  /** Whether its one task has never started: only then it may be refused because of overload. */
  get isNew(): boolean {
    return this.plan.verb === "run" && this.tasks[0]!.attempts === 0
  }

  get isPlain(): boolean {
    const { lane, permits, priority } = this.plan
    return lane === undefined && permits === 1 && priority === 0
  }

  /** Why one of its tasks must not start now at that meter, if so. */
  objectionAt(account: Account): string | undefined {
    return account.objection(this.costAt(account), this.plan.permits)
  }

  /** Whether a task needs more than its meters have ever allowed. */
  get isExcessive(): boolean {
    const { maxAtOnce = Infinity, permits, verb } = this.plan
    return (
      (verb !== "run" && permits > maxAtOnce) ||
      this.accounts.some((account) => account.leastLimit < this.costAt(account) || account.leastAtOnce < permits)
    )
  }

  get isAborted(): boolean {
    return this.signal?.aborted === true
  }

  get isClosed(): boolean {
    return this.accounts.some(({ closed }) => closed !== undefined)
  }

  /** Whether nothing has ended or decided it, so that an abort has to make it reject. */
  get isOpen(): boolean {
    if (this.isOver || this.isCleared || this.isDecided || this.isClosed || this.isDrained || this.isExcessive)
      return false
    if (this.failures === "end it" && this.tasks.some((each) => this.stateOf(each) === "unknown")) return false
    const isGoingOn = this.tasks.some(({ state }) => state !== "ended" && state !== "unknown")
    // Failures that are collected decide it when the last task has ended.
    const hasFailures = this.failures === "are collected" && this.tasks.some(({ value }) => value === undefined)
    return isGoingOn || (this.plan.verb === "amap" ? this.unread > 0 && !hasFailures : !hasFailures)
  }

  get isOver(): boolean {
    return this.outcome !== undefined || this.hasLeft || this.isAborted || this.hasFailed
  }

  /** The most tasks that may be started and not read. */
  get maxUnread(): number {
    const { maxAtOnce = Infinity, maxUnread, permits, verb } = this.plan
    if (verb !== "amap") return Infinity
    const most = Math.min(maxAtOnce, ...this.accounts.map((account) => account.maxAtOnce))
    return maxUnread ?? 2 * Math.max(1, Math.floor(most / permits))
  }

  stateOf({ startedAt, state }: TaskRecord): TaskRecord["state"] {
    const { timeout = Infinity } = this.plan
    return state === "running" && startedAt + timeout <= now() ? "unknown" : state
  }

  /** The tasks that are started, and whose results have not been read. */
  get unread(): number {
    // What fails without failing the call has no result.
    const failed = this.tasks.filter((each) => {
      const state = this.stateOf(each)
      return state === "unknown" || (state === "ended" && each.value === undefined)
    })
    return this.started - this.read - (this.failures === "are collected" ? failed.length : 0)
  }

  /** `runAny` has its winner. */
  get isDecided(): boolean {
    const { until, verb } = this.plan
    if (verb !== "runAny") return false
    return this.tasks.some(
      (each) => this.stateOf(each) === "ended" && (until === "settled" || each.value !== undefined)
    )
  }

  /** Whether one of its tasks waits for nothing but its meters. */
  get isWaiting(): boolean {
    const { maxAtOnce = Infinity, permits, verb } = this.plan
    // A verb pulls nothing more while one of its meters drains.
    if (this.isDrained && verb !== "run") return false
    const states = this.tasks.map((each) => this.stateOf(each))
    // What `clear` has not ended it may have.
    if (
      this.isOver ||
      this.isCleared ||
      this.isClosed ||
      states.includes("between attempts") ||
      states.includes("unknown")
    )
      return false
    if (!states.includes("not started") || this.isDecided) return false
    // In order, a failure may count as unread until all before it have been read.
    const unread = this.plan.ordered ? this.started - this.read : this.unread
    return (verb === "run" || (this.running + 1) * permits <= maxAtOnce) && unread < this.maxUnread
  }

  toString(): string {
    const states = this.tasks.map(({ state }) => state).join(", ")
    return `call ${this.number} (${this.plan.verb}: ${states})`
  }
}

class Violation extends Error {}

class World {
  /** Of all tasks, so far. */
  private attempts = 0
  private readonly program: Program
  private readonly accounts: ReadonlyArray<Account>
  private readonly calls: Array<CallRecord> = []
  private readonly closings: Array<Promise<unknown>> = []
  private readonly violations: Array<string> = []
  private readonly begun = now()
  /** Nothing has happened since the event loop had its last turn. */
  private isQuiet = true

  constructor(program: Program) {
    this.program = program
    this.accounts = program.meters.map((plan, number) => new Account(plan, number))
  }

  async execute(): Promise<void> {
    const { steps } = this.program
    try {
      for (const step of steps) setTimeout(() => this.take(step), step.at)
      await this.runTimers()
      // A task that is started by that may pause a meter again.
      while (this.accounts.some(({ isPaused }) => isPaused)) {
        for (const meter of this.accounts.keys()) this.control({ do: "resume", meter }, true)
        await this.runTimers()
      }
      this.checkEnd()
      await this.close()
    } finally {
      for (const { meter } of this.accounts) void meter.close("the program is over")
      for (let i = 0; i < 50 && vi.getTimerCount() > 0; i++) {
        vi.advanceTimersToNextTimer()
        await this.settleDown()
      }
      vi.clearAllTimers()
    }
  }

  private async runTimers(): Promise<void> {
    await this.settleDown()
    this.check()
    for (let i = 0; vi.getTimerCount() > 0; i++) {
      if (i > 3000) throw new Violation("there is no end of timers")
      vi.advanceTimersToNextTimer()
      await this.settleDown()
      this.check()
    }
  }

  /** Rejects when the signal aborts, as `fetch` does. */
  private sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason)
      const abort = (): void => {
        clearTimeout(timer)
        reject(signal?.reason)
      }
      const timer = setTimeout(() => {
        this.isQuiet = false
        signal?.removeEventListener("abort", abort)
        resolve()
      }, ms)
      signal?.addEventListener("abort", abort, { once: true })
    })
  }

  /** Lets everything happen that can happen without time going by; the timers of this very instant included. */
  private async settleDown(): Promise<void> {
    // A retry without a delay starts in a later turn: as long as attempts start, more may.
    for (let attempts = -1; attempts !== this.attempts;) {
      attempts = this.attempts
      for (let round = 0; round < 3; round++) {
        if (round > 0) vi.advanceTimersByTime(0)
        for (let i = 0; i < 4; i++) await turn()
        this.isQuiet = true
      }
    }
  }

  private report(what: string): void {
    this.violations.push(`at ${now() - this.begun}: ${what}`)
  }

  private take(step: Step): void {
    const isAlone = this.isQuiet
    this.isQuiet = false
    if (step.do === "call") this.begin(step.call, [], undefined)
    else this.control(step, isAlone)
  }

  private control(step: Control, isAlone: boolean): void {
    if (step.do === "abort" || step.do === "leave") {
      const call = this.calls[step.call % this.calls.length]
      if (call === undefined) return
      if (step.do === "abort") {
        if (call.controller === undefined || call.isAborted) return
        call.hasToReject = isAlone && call.isOpen
        call.controller.abort(new Error(`abort of call ${call.number}`))
      } else if (call.iterator !== undefined && call.outcome === undefined) {
        call.hasLeft = true
        call.hasToReject = false
        call.leaving = call.iterator.return!()
        // The reader may learn of it in another way before.
        call.leaving.catch(() => {})
      }
      return
    }
    const account = this.accounts[step.meter % this.accounts.length]!
    switch (step.do) {
      case "pause": {
        account.pausedUntil = Math.max(account.pausedUntil, now() + step.ms)
        return account.meter.pause(step.ms)
      }
      case "resume": {
        account.pausedUntil = -Infinity
        return account.meter.resume()
      }
      case "resize": {
        account.resize(step.to)
        for (const call of this.calls) call.noteUnread()
        return
      }
      case "drain": {
        account.isDraining = true
        for (const call of this.calls) if (call.accounts.includes(account)) call.hasToReject = false
        this.closings.push(account.meter.drain())
        return
      }
      case "idle": {
        this.closings.push(account.meter.idle())
        return
      }
      case "clear": {
        const reason = new Error("clear")
        account.reasons.add(reason)
        for (const call of this.calls) if (call.accounts.includes(account)) call.isCleared = true
        return account.meter.clear(reason)
      }
      case "close": {
        if (account.closed !== undefined) return
        const reason = new Error("close")
        account.reasons.add(reason)
        account.closed = { reason }
        for (const call of this.calls) if (call.accounts.includes(account)) call.hasToReject = false
        this.closings.push(account.meter.close(reason))
      }
    }
  }

  private begin(plan: CallPlan, held: ReadonlyArray<number>, passed: AbortSignal | undefined): CallRecord | undefined {
    const highest = this.program.isOrdered ? Math.max(-1, ...held) : -1
    const numbers = [...new Set(plan.meters.map((number) => number % this.accounts.length))].filter(
      (number) => number > highest
    )
    if (plan.verb === "run" && numbers.length === 0) return undefined
    const accounts = numbers.map((number) => this.accounts[number]!)
    const call = new CallRecord(this.calls.length, plan, accounts, passed)
    this.calls.push(call)
    const holds = [...held, ...numbers]
    const promise = plan.verb === "run" ? this.beginRun(call, holds) : this.beginVerb(call, plan.verb, holds)
    promise.then(
      (value) => this.ended(call, { status: "fulfilled", value }),
      (reason: unknown) => this.ended(call, { status: "rejected", reason })
    )
    call.promise = promise
    return call
  }

  private optionsOf(call: CallRecord): object {
    const { grace, lane, permits, priority, releaseOnTimeout, retry, timeout } = call.plan
    return {
      grace,
      ...(permits === 1 ? {} : { permits }),
      ...(priority === 0 ? {} : { priority }),
      ...(lane === undefined ? {} : { lane }),
      ...(timeout === undefined || !releaseOnTimeout ? {} : { releaseOnTimeout }),
      ...(retry === undefined ? {} : { retry }),
      ...(timeout === undefined ? {} : { timeout }),
      ...(call.signal === undefined ? {} : { signal: call.signal })
    }
  }

  private beginRun(call: CallRecord, holds: ReadonlyArray<number>): Promise<unknown> {
    const [first, ...others] = call.accounts.map(({ meter }) => meter)
    return first!.run((context) => this.attempt(call, call.tasks[0]!, context, holds), {
      ...this.optionsOf(call),
      ...(others.length === 0 ? {} : { meter: others }),
      ...(call.plan.waitTimeout === undefined ? {} : { waitTimeout: call.plan.waitTimeout }),
      cost: call.namedHere(call.plan.cost)
    })
  }

  private beginVerb(
    call: CallRecord,
    verb: Exclude<CallPlan["verb"], "run">,
    holds: ReadonlyArray<number>
  ): Promise<unknown> {
    const { asMethod, maxAtOnce, maxUnread, ordered, source, until } = call.plan
    const { failures } = call
    const [first, ...others] = call.accounts.map(({ meter }) => meter)
    const isMethod = asMethod && first !== undefined
    const options = {
      ...this.optionsOf(call),
      ...(maxAtOnce === undefined ? {} : { maxAtOnce }),
      cost: () => call.namedHere(call.plan.cost),
      ...(verb === "runAny" ? { until } : failures === "are collected" ? { stopOnError: false } : {}),
      ...(failures === "are results" ? { settled: true } : {}),
      ...(verb === "amap" ? { ordered, ...(maxUnread === undefined ? {} : { maxUnread }) } : {}),
      meter: isMethod ? others : call.accounts.map(({ meter }) => meter)
    }
    const f = (task: TaskRecord, context: Context): unknown => {
      if (context.index !== task.index) this.report(`${call}: task ${task.index} has index ${context.index}`)
      return this.attempt(call, task, context, holds)
    }
    const verbs: any = isMethod ? first : { amap, runAll, runAny, runOnEach }
    if (verb === "amap") return this.read(call, verbs.amap(this.itemsOf(call), f, options))
    if (source === "functions" && verb !== "runOnEach") {
      call.pulled = call.tasks.length
      const tasks = call.tasks.map((task) => (context: Context) => f(task, context))
      return verbs[verb](tasks, options)
    }
    return verbs[verb](this.itemsOf(call), f, options)
  }

  private itemsOf(call: CallRecord): Iterable<TaskRecord> | AsyncIterable<TaskRecord> {
    const { source } = call.plan
    if (source === "generator") return this.generate(call)
    if (source !== "async generator") {
      call.pulled = call.tasks.length
      return call.tasks
    }
    const items = this.generate(call)
    return (async function* () {
      yield* items
    })()
  }

  private *generate(call: CallRecord): Generator<TaskRecord> {
    call.source = "open"
    try {
      for (const task of call.tasks) {
        call.pulled++
        if (call.pulled - call.started > 1) this.report(`${call}: ${call.pulled} items pulled, ${call.started} used`)
        yield task
      }
    } finally {
      call.source = "closed"
    }
  }

  private async read(call: CallRecord, results: AsyncIterableIterator<unknown>): Promise<ReadonlyArray<unknown>> {
    const { leavesAfter, readerTakes } = call.plan
    call.iterator = results
    const read: Array<unknown> = []
    for await (const result of results) {
      call.read++
      read.push(result)
      if (read.length === leavesAfter) {
        call.hasLeft = true
        break
      }
      if (readerTakes > 0) {
        call.isReaderBusy = true
        await this.sleep(readerTakes)
        call.isReaderBusy = false
      }
    }
    await call.leaving
    return read
  }

  /** A task is called. */
  private attempt(call: CallRecord, task: TaskRecord, context: Context, holds: ReadonlyArray<number>): unknown {
    this.checkStart(call, task)
    const attempt = ++task.attempts
    this.attempts++
    task.state = "running"
    task.value = undefined
    task.startedAt = now()
    call.running++
    const { permits, releaseOnTimeout, retry, timeout = Infinity } = call.plan
    const spent: Array<Spent> = []
    for (const account of call.accounts) {
      account.running++
      account.permitsInUse += permits
      account.started++
      account.paced.push(now())
      const entry = { name: account.windowName, at: now(), cost: call.costAt(account) }
      if (account.hasWindow) account.spent.push(entry)
      spent.push(entry)
    }
    let isReleased = false
    const release = (): void => {
      if (isReleased) return
      isReleased = true
      call.running--
      for (const account of call.accounts) {
        account.running--
        account.permitsInUse -= permits
      }
    }
    // A task that was cancelled before does not time out.
    const releaseInTime = (): void => {
      if (!context.signal.aborted) release()
    }
    const timer = releaseOnTimeout && timeout < Infinity ? setTimeout(releaseInTime, timeout) : undefined
    const end = (hasFailed: boolean): void => {
      clearTimeout(timer)
      release()
      if (attempt !== task.attempts) return
      if (task.startedAt + timeout <= now()) task.state = "unknown"
      else task.state = hasFailed && attempt <= (retry?.times ?? 0) ? "between attempts" : "ended"
      if (!hasFailed || task.state !== "ended") return
      call.hasFailed ||= call.failures === "end it"
    }
    const correct = (): void => {
      const { corrects } = task.plan
      if (corrects === undefined) return
      // What no window reaches any more is left as it is, and has been taken out here.
      for (const account of call.accounts) account.expire()
      for (const entry of spent) entry.cost = corrects[entry.name]
      context.correct(call.namedHere(corrects))
    }
    const finish = (): unknown => {
      correct()
      if (task.plan.throws) {
        const reason = new Error(`call ${call.number}, task ${task.index}, attempt ${attempt}`)
        task.reasons.push(reason)
        throw reason
      }
      const value = { call: call.number, task: task.index, attempt }
      // An attempt that has timed out has no result, whether it ends before the next one starts or after.
      const { timeout = Infinity } = call.plan
      if (attempt === task.attempts && task.startedAt + timeout >= now()) task.value = value
      return value
    }
    if (task.plan.isSync && task.plan.parts.length === 0) {
      let hasFailed = true
      try {
        const value = finish()
        hasFailed = false
        return value
      } finally {
        end(hasFailed)
      }
    }
    return this.play(call, task, context, holds, finish, end)
  }

  private async play(
    call: CallRecord,
    task: TaskRecord,
    context: Context,
    holds: ReadonlyArray<number>,
    finish: () => unknown,
    end: (hasFailed: boolean) => void
  ): Promise<unknown> {
    const signal = task.plan.isDeaf ? undefined : context.signal
    let hasFailed = true
    try {
      for (const part of task.plan.parts) {
        if (part.do === "sleep") await this.sleep(part.ms, signal)
        else if (part.do !== "call") this.control(part, false)
        else {
          const nested = this.begin(part.call, holds, part.passesSignal ? context.signal : undefined)
          if (part.isAwaited) await nested?.promise
        }
      }
      const value = finish()
      hasFailed = false
      return value
    } catch (reason) {
      // What it throws since it was cancelled is no failure of its own.
      if (signal?.aborted !== true) task.reasons.push(reason)
      throw reason
    } finally {
      end(hasFailed)
    }
  }

  private checkStart(call: CallRecord, task: TaskRecord): void {
    const { maxAtOnce = Infinity, permits, retry, verb } = call.plan
    if (call.isTooLate) this.report(`${call} starts although its meter was being drained`)
    for (const [i, account] of call.accounts.entries()) {
      const objection = call.objectionAt(account)
      if (objection !== undefined) this.report(`${call} starts task ${task.index} although its meter ${i} ${objection}`)
    }
    if (verb !== "run" && (call.running + 1) * permits > maxAtOnce)
      this.report(`${call} runs ${call.running + 1} at once`)
    if (call.outcome !== undefined) this.report(`${call} starts task ${task.index} after its end`)
    if (call.isAborted) this.report(`${call} starts task ${task.index} after its abort`)
    if (call.hasLeft) this.report(`${call} starts task ${task.index} after its reader has left`)
    if (task.attempts > (retry?.times ?? 0))
      this.report(`${call} starts attempt ${task.attempts + 1} of task ${task.index}`)
    if (verb !== "run" || task.attempts > 0) return
    for (const earlier of this.calls) {
      if (earlier === call) return
      if (earlier.plan.verb !== "run" || !earlier.isWaiting || !hasSameMeters(earlier, call)) continue
      // Lanes and priorities change the order of all that wait for these meters.
      if (this.calls.some((each) => !each.isPlain && hasSameMeters(each, call))) return
      if (!earlier.isExcessive) this.report(`${call} starts before ${earlier}`)
    }
  }

  private ended(call: CallRecord, outcome: Outcome): void {
    call.outcome = outcome
    const wrong = this.wrongOutcome(call, outcome)
    if (wrong !== undefined) this.report(`${call} ${wrong}`)
  }

  private wrongOutcome(call: CallRecord, outcome: Outcome): string | undefined {
    const { leavesAfter, ordered, until, verb } = call.plan
    const { failures, tasks } = call
    if (call.hasToReject && outcome.status === "fulfilled") return "was aborted, and is fulfilled"
    if (outcome.status === "rejected") {
      const { reason } = outcome
      if (call.hasToReject && !tasks.some(({ reasons }) => reasons.length > 0)) {
        if (reason !== call.signal!.reason && !isTimeoutError(reason) && !(reason instanceof AggregateError)) {
          return `was aborted, and is rejected with ${reason}`
        }
      }
      return this.isReason(call, reason) ? undefined : `is rejected with ${reason}`
    }
    const { value } = outcome
    if (verb === "run") return value === tasks[0]!.value ? undefined : "does not give its task's value"
    if (verb === "runOnEach") return value === undefined ? undefined : "gives a value"
    if (verb === "runAny") {
      if (tasks.some((task) => task.value !== undefined && task.value === value)) return undefined
      return `gives what no task gave (${until})`
    }
    const results: ReadonlyArray<any> = value
    const isSettled = failures === "are results"
    const fits = (result: any, task: TaskRecord): boolean => {
      if (!isSettled) return result === task.value
      if (result.index !== task.index) return false
      if (result.status === "fulfilled") return result.value === task.value
      return task.reasons.includes(result.reason) || isTimeoutError(result.reason)
    }
    if (verb === "runAll" || (ordered && !call.hasLeft)) {
      if (results.length !== tasks.length) return `gives ${results.length} of ${tasks.length} results`
      return tasks.every((task, i) => fits(results[i], task)) ? undefined : "gives other results than its tasks"
    }
    if (!call.hasLeft && results.length !== tasks.length) return `gives ${results.length} of ${tasks.length} results`
    if (results.length > (leavesAfter ?? Infinity)) return "gives results to a reader that has left"
    if (new Set(results).size !== results.length) return "gives a result twice"
    return results.every((result) => tasks.some((task) => fits(result, task))) ? undefined : "gives what no task gave"
  }

  private isReason(call: CallRecord, reason: unknown): boolean {
    const { timeout } = call.plan
    const ofTasks = (each: unknown): boolean =>
      call.tasks.some(({ reasons }) => reasons.includes(each)) || (timeout !== undefined && isTimeoutError(each))
    if (call.isAborted && reason === call.signal!.reason) return true
    if (call.accounts.some(({ reasons }) => reasons.has(reason))) return true
    if (ofTasks(reason)) return true
    if (reason instanceof RangeError) return call.isExcessive
    if (reason instanceof OverloadedError) {
      const limits = call.accounts.map(({ waits }) => waits)
      if (!call.isNew) return false
      return reason.reason === "queue-full"
        ? limits.some(({ maxWaiting }) => maxWaiting !== undefined)
        : call.waitTimeout <= now() - call.begunAt || call.accounts.some(({ isTimed }) => isTimed)
    }
    if (call.isDrained && reason instanceof DOMException) return reason.message === "the meter has been closed"
    if (!(reason instanceof AggregateError) || call.failures !== "are collected") return false
    return reason.errors.length > 0 && reason.errors.every(ofTasks)
  }

  /** Everything that can happen at this instant has happened. */
  private check(): void {
    for (const [i, account] of this.accounts.entries()) this.checkAccount(i, account)
    for (const call of this.calls) this.checkCall(call)
    const [first] = this.violations
    if (first !== undefined) throw new Violation(this.violations.slice(0, 5).join("\n"))
  }

  private checkAccount(i: number, account: Account): void {
    const { free, nextStart, room, running, started } = account.meter.snapshot()
    const same = (name: string, is: number, should: number): void => {
      if (is !== should) this.report(`meter ${i}: ${name} is ${is}, not ${should}`)
    }
    same("running", running, account.running)
    same("started", started, account.started)
    same("free", free, Math.max(0, account.maxAtOnce - account.permitsInUse))
    const { maxWaiting = Infinity } = account.waits
    const waiting = this.calls.filter((call) => call.isWaiting && call.isNew && call.accounts.includes(account)).length
    if (waiting > maxWaiting) this.report(`meter ${i}: ${waiting} calls wait, and ${maxWaiting} may`)
    if (account.hasWindow) same("room", room[account.windowName]!, Math.max(0, account.room))
    if (
      nextStart > 0 &&
      account.closed === undefined &&
      account.rate === Infinity &&
      account.objection(1, 1) === undefined
    ) {
      this.report(`meter ${i} is open, and says that it opens in ${nextStart}`)
    }
  }

  private checkCall(call: CallRecord): void {
    const { grace, retry, timeout, verb } = call.plan
    if (call.outcome !== undefined) {
      if (call.source === "open") this.report(`${call} has ended and not closed its source`)
      return
    }
    if (verb === "amap" && call.unread > call.mostUnread) {
      this.report(`${call} has ${call.unread} results that are not read`)
    }
    // A reader only learns what it pulls.
    if (call.isReaderBusy) return
    if (grace === 0) {
      if (call.isAborted) this.report(`${call} was aborted and has not ended`)
      if (call.isClosed) this.report(`${call} has not ended with its meter`)
      if (verb === "run" && retry === undefined && timeout !== undefined) {
        const { startedAt, state } = call.tasks[0]!
        if (state === "running" && startedAt + timeout <= now()) this.report(`${call} has timed out and not ended`)
      }
    }
    // A meter that has room does not end a call that waits for another one.
    const isCleared = call.isCleared && call.accounts.length === 1
    if (isCleared && verb === "run" && call.tasks[0]!.attempts === 0) this.report(`${call} was cleared and waits`)
    if (call.isWaiting && call.isNew && now() > call.begunAt + call.waitTimeout) {
      this.report(`${call} waits longer than its waitTimeout`)
    }
    if (call.isWaiting && !this.mayBeKeptWaiting(call)) this.report(`${call} waits although its meters have room`)
  }

  private mayBeKeptWaiting(call: CallRecord): boolean {
    return call.accounts.some((account) => {
      if (call.objectionAt(account) !== undefined) return true
      if (account.rate !== Infinity && account.meter.snapshot().nextStart > 0) return true
      // One before it may need more room in the window, or several meters.
      return this.calls.some(
        (other) =>
          other !== call &&
          other.outcome === undefined &&
          other.accounts.includes(account) &&
          ((account.hasWindow && other.costAt(account) > 1) || other.plan.permits > 1 || other.accounts.length > 1)
      )
    })
  }

  /** All timers have run: only permits may be missing. */
  private checkEnd(): void {
    for (const call of this.calls) {
      if (call.outcome !== undefined) continue
      if (this.program.isOrdered) this.report(`${call} has not ended`)
      const { permits } = call.plan
      const isHeldUp = call.accounts.some(({ maxAtOnce, permitsInUse }) => permitsInUse + permits > maxAtOnce)
      if (call.isWaiting && !isHeldUp) this.report(`${call} waits in the end although its meters have room`)
      // A task that has timed out may wait for its next attempt while it still runs.
      const states = call.tasks.map((each) => call.stateOf(each))
      const mayWait = isHeldUp && states.some((state) => state !== "running" && state !== "ended")
      if (call.running === 0 && !mayWait) this.report(`${call} hangs`)
    }
    this.check()
  }

  /** Whatever has not ended does with its meters. Then nothing is left. */
  private async close(): Promise<void> {
    const hasEnded = this.calls.every(({ outcome }) => outcome !== undefined)
    if (!hasEnded) for (const meter of this.accounts.keys()) this.control({ do: "close", meter }, false)
    await this.runTimers()
    for (const call of this.calls) {
      if (call.outcome === undefined) this.report(`${call} has not ended with all meters`)
      if (call.running > 0) this.report(`${call} still runs tasks`)
      if (call.controller !== undefined && getEventListeners(call.controller.signal, "abort").length > 0) {
        this.report(`${call} has left a listener`)
      }
    }
    let waiting = 0
    for (const closing of [...this.closings, ...this.accounts.map(({ meter }) => meter.idle())]) {
      waiting++
      closing.then(
        () => waiting--,
        (reason: unknown) => this.report(`a close or idle is rejected with ${reason}`)
      )
    }
    await this.settleDown()
    if (waiting > 0) this.report(`${waiting} of close and idle have not resolved`)
    for (const [i, account] of this.accounts.entries()) {
      const { running, waiting: left } = account.meter.snapshot()
      if (running !== 0 || left !== 0) this.report(`meter ${i}: ${running} run and ${left} wait in the end`)
    }
    if (vi.getTimerCount() > 0) this.report("a timer is left")
    this.check()
  }
}

interface Context {
  readonly index?: number
  readonly signal: AbortSignal
  readonly correct: (cost: Partial<Amounts>) => void
}

/** Executes the program under virtual time; throws a `Violation`. */
export const execute = (program: Program): Promise<void> => new World(program).execute()

const hasSameMeters = (a: CallRecord, b: CallRecord): boolean =>
  a.accounts.length === b.accounts.length && a.accounts.every((account) => b.accounts.includes(account))
