/**
 * Calls a function in a later turn of the event loop, by means that tests do not fake and hosts do not throttle: to yield
 * must not depend on the clock of a test, and must not take a second in a hidden tab.
 */
import { isFake } from "./isFake.ts"

interface Port {
  readonly addEventListener: (type: "message", listener: () => void) => void
  /** Listeners are called only after this. */
  readonly start: () => void
  readonly postMessage: (message: undefined) => void
  readonly ref?: () => void
  readonly unref?: () => void
}

interface Globals {
  readonly setImmediate?: (f: () => void) => unknown
  readonly MessageChannel?: new () => { readonly port1: Port; readonly port2: Port }
  readonly setTimeout: (f: () => void, millis: number) => unknown
}

const globals = globalThis as unknown as Globals

/** As they were when this module was loaded. */
const { setImmediate: immediate, setTimeout: timeout } = globals

const byMessages = (Channel: NonNullable<Globals["MessageChannel"]>): ((f: () => void) => void) => {
  const { port1, port2 } = new Channel()
  const waiting: Array<() => void> = []
  port1.addEventListener("message", () => {
    const f = waiting.shift()!
    // In Node, an open port keeps the process alive.
    if (waiting.length === 0) port1.unref?.()
    f()
  })
  port1.start()
  port1.unref?.()
  return (f) => {
    if (waiting.push(f) === 1) port1.ref?.()
    port2.postMessage(undefined)
  }
}

const choose = (): ((f: () => void) => void) => {
  if (immediate !== undefined && !isFake(immediate)) return (f) => void immediate(f)
  // On Cloudflare Workers, which have this class, a message arrives within the turn: no timer fires before it.
  const MessageChannel = "WebSocketPair" in globals ? undefined : globals.MessageChannel
  return MessageChannel === undefined ? (f) => void timeout(f, 0) : byMessages(MessageChannel)
}

let chosen: ReturnType<typeof choose> | undefined

/** Calls `f` in a later turn. */
export const defer = (f: () => void): void => (chosen ??= choose())(f)
