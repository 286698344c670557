/** Messages by hand: what a test says about one, and the rest as of a session that has nothing else to say. */
import { advance } from "../../src/protocol/advance.ts"
import { encodeLimits, type Limits } from "../../src/protocol/limits.ts"
import {
  type Answer,
  type Demand,
  type Grant,
  type Message,
  protocolVersion,
  slotAt
} from "../../src/protocol/message.ts"
import type { State } from "../../src/protocol/state.ts"

export const none: Limits = { permits: 0, rate: 0, burst: 1, lease: 1_000_000, windows: [] }

export const demand = (batch: number, count: number, rest: Partial<Demand> = {}): Demand => ({
  batch,
  count,
  weight: 0,
  arrival: 0,
  costs: [],
  ...rest
})

export const message = (limits: Limits, rest: Partial<Message> = {}): Message => ({
  version: protocolVersion,
  session: "a",
  seq: 1,
  generation: 0,
  tick: 0,
  limits: encodeLimits(limits),
  resized: "",
  revision: 1,
  held: 0,
  ended: 0,
  visit: 0,
  pause: -1,
  leave: false,
  resize: "",
  reports: [],
  corrections: [],
  withdrawn: [],
  demand: [],
  ...rest
})

/** The instants of the slots of all grants. */
export const slots = (grants: ReadonlyArray<Grant>): ReadonlyArray<number> =>
  grants.flatMap((grant) => Array.from({ length: grant.count }, (_, index) => slotAt(grant, index)))

/** A store by hand, whose time the test sets. Sessions count their messages by themselves. */
export class Table {
  readonly limits: Limits
  state: State | undefined
  now = 0
  wakes: ReadonlyArray<string> = []
  private readonly sessions = new Map<string, { seq: number; answer: Answer | undefined; last: Message | undefined }>()

  constructor(limits: Limits) {
    this.limits = limits
  }

  /** A session sends its next message. */
  say(session: string, rest: Partial<Message> = {}): Answer {
    const known = this.sessions.get(session) ?? { seq: 0, answer: undefined, last: undefined }
    this.sessions.set(session, known)
    known.last = message(this.limits, {
      session,
      seq: ++known.seq,
      generation: known.answer?.generation ?? 0,
      tick: known.answer?.tick ?? 0,
      ...rest
    })
    const answer = this.send(known.last)
    if (answer.status === "ok") known.answer = answer
    return answer
  }

  /** A session sends its last message again. */
  repeat(session: string): Answer {
    return this.send(this.sessions.get(session)!.last!)
  }

  send(message: Message): Answer {
    const { answer, state, wakes } = advance(this.state, message, this.now)
    this.state = state
    this.wakes = wakes
    return answer
  }
}
