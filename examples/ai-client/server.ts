/**
 * A mock of a model's API. It enforces quotas of requests and of tokens in fixed windows of time, and reports what is left as
 * OpenAI does. A request counts with the longest answer that it allows, until the answer is there.
 */
import { once } from "node:events"
import { createServer } from "node:http"
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import { setTimeout } from "node:timers/promises"
import { json } from "node:stream/consumers"

interface Body {
  readonly prompt: string
  readonly max_tokens: number
  readonly stream?: boolean
}

export interface Quotas {
  readonly requests: number
  readonly tokens: number
}

export class MockModel {
  /** Requests that have been answered, by the status of the response. */
  readonly answered = { 200: 0, 429: 0 }
  /** The next request is refused, for so many seconds. */
  refuseNext: number | undefined
  readonly server: Server
  /** When requests have arrived. */
  readonly arrivals: Array<number> = []
  private readonly limits: Quotas
  private readonly perMillis: number
  private readonly others: Quotas
  private used: { requests: number; tokens: number } = { requests: 0, tokens: 0 }
  private window = -1

  /** `others` is what clients with the same key use at the beginning of each window. The first one begins with a request. */
  constructor(limits: Quotas, perMillis: number, others: Quotas = { requests: 0, tokens: 0 }) {
    this.limits = limits
    this.perMillis = perMillis
    this.others = others
    this.server = createServer((request, response) => void this.answer(request, response))
  }

  /** Brings the window up to date. Returns the milliseconds until its end. */
  private turn(): number {
    const now = performance.now()
    this.arrivals.push(now)
    const elapsed = now - this.arrivals[0]!
    const window = Math.floor(elapsed / this.perMillis)
    if (window !== this.window) this.used = { ...this.others }
    this.window = window
    return (window + 1) * this.perMillis - elapsed
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { max_tokens, prompt, stream } = (await json(request)) as Body
    const left = this.turn()
    const { window } = this
    const most = Math.ceil(prompt.length / 4) + max_tokens
    const fits = this.used.requests < this.limits.requests && this.used.tokens + most <= this.limits.tokens
    const isRefused = !fits || this.refuseNext !== undefined
    if (!isRefused) this.used = { requests: this.used.requests + 1, tokens: this.used.tokens + most }
    const headers = {
      "x-ratelimit-remaining-requests": Math.max(0, this.limits.requests - this.used.requests),
      "x-ratelimit-remaining-tokens": Math.max(0, this.limits.tokens - this.used.tokens),
      "x-ratelimit-reset-requests": `${Math.ceil(left)}ms`,
      "x-ratelimit-reset-tokens": `${Math.ceil(left)}ms`
    }
    if (isRefused) {
      const seconds = this.refuseNext ?? left / 1000
      this.refuseNext = undefined
      this.answered[429]++
      response.writeHead(429, { ...headers, "retry-after": String(seconds) }).end()
      return
    }
    this.answered[200]++
    const text = `The answer to ${JSON.stringify(prompt)}.`
    const usage = { total_tokens: Math.ceil((prompt.length + text.length) / 4) }
    response.writeHead(200, headers)
    if (stream === true) {
      for (const word of text.split(/(?<= )/)) {
        response.write(`${JSON.stringify({ text: word })}\n`)
        await setTimeout(5)
      }
    } else {
      await setTimeout(20)
    }
    if (window === this.window) this.used.tokens += usage.total_tokens - most
    response.end(stream === true ? `${JSON.stringify({ usage })}\n` : JSON.stringify({ text, usage }))
  }
}

if (import.meta.main) {
  const { server } = new MockModel({ requests: 60, tokens: 20_000 }, 60_000)
  await once(server.listen(4000, "127.0.0.1"), "listening")
  console.log("listening on http://127.0.0.1:4000")
}
