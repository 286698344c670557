import type { Answer, Message } from "../protocol/message.ts"

/** Where the state of meters is kept. Sessions exchange messages with it. */
export interface MeterStore {
  /**
   * Sends a message to the meter of that name. If this rejects, the message may have been received or not: send the same
   * message again. `now` is the session's time in microseconds, for a store in the same process.
   */
  readonly exchange: (name: string, message: Message, now?: number) => Promise<Answer>
  /**
   * Calls `listener` when a session should send a message at once, until the returned function is called. A wake-up may be
   * lost, so that sessions visit by themselves as well.
   */
  readonly onWake: (name: string, session: string, listener: () => void) => () => void
}
