/**
 * Later turns of the event loop, which nothing fakes and no host throttles: a call that has to let others in must not
 * depend on what a test's clock does, nor take a second for it in a hidden tab.
 */
import { isFake } from "./isFake.ts"

interface Port {
  readonly addEventListener: (type: "message", listener: () => void) => void
  /** Messages to a listener come only after this. */
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

/** As they were when this was loaded. */
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
  // On Cloudflare Workers, which this class belongs to, a message comes without a turn: no timer fires before it.
  const MessageChannel = "WebSocketPair" in globals ? undefined : globals.MessageChannel
  return MessageChannel === undefined ? (f) => void timeout(f, 0) : byMessages(MessageChannel)
}

let chosen: ReturnType<typeof choose> | undefined

/** Calls `f` in a later turn. */
export const defer = (f: () => void): void => (chosen ??= choose())(f)
