/**
 * A client of a language model whose API has quotas of requests and of tokens a minute. All that a program asks runs under one
 * meter, which knows the quotas, and what the server says is left of them.
 */
import { createMeter, rateLimitsOf, retryAfter } from "@fibermeter/promise"
import type { Cost, Period, TaskContext } from "@fibermeter/promise"

const { MODEL_URL = "http://127.0.0.1:4000", MODEL_REQUESTS = "60", MODEL_TOKENS = "20000" } = process.env
const per = (process.env["MODEL_PER"] ?? "1 minute") as Period

const model = createMeter({
  maxAtOnce: 10,
  windows: { requests: { limit: Number(MODEL_REQUESTS), per }, tokens: { limit: Number(MODEL_TOKENS), per } },
  timeout: "1 minute"
})

/** How long an answer may be. */
const maxTokens = 200

/** Before the answer is there: about four characters a token, and the longest answer. */
const estimate = (prompt: string): Cost => ({ tokens: Math.ceil(prompt.length / 4) + maxTokens })

/** `retry` and `retryAfter` find the `Retry-After` in the response. */
class ApiError extends Error {
  readonly response: Response

  constructor(response: Response) {
    super(`the model's API responds with ${response.status}`)
    this.response = response
  }
}

const isTemporary = (error: unknown): error is ApiError =>
  error instanceof ApiError && (error.response.status === 429 || error.response.status >= 500)

/** Sends a request. What the server says is left counts as soon as the headers are there. */
const send = async (
  body: object,
  { reconcile, signal }: Pick<TaskContext, "reconcile" | "signal">
): Promise<Response> => {
  const response = await fetch(`${MODEL_URL}/v1/completions`, { method: "POST", body: JSON.stringify(body), signal })
  for (const report of rateLimitsOf(response)) reconcile(report)
  if (response.ok) return response
  // It is not going to be read, and would keep its connection open.
  await response.body?.cancel()
  throw new ApiError(response)
}

interface Usage {
  readonly total_tokens: number
}

/** Asks for a whole answer. */
export const ask = (prompt: string, signal?: AbortSignal): Promise<string> =>
  model.run(
    async (context) => {
      const response = await send({ prompt, max_tokens: maxTokens }, context)
      const answer = (await response.json()) as { readonly text: string; readonly usage: Usage }
      context.correct({ tokens: answer.usage.total_tokens })
      return answer.text
    },
    { cost: estimate(prompt), signal, retry: { times: 5, delay: "1 second", while: isTemporary } }
  )

/** Asks for an answer in parts. The permit is held until all of them have been read, or the reader leaves. */
export async function* stream(prompt: string, signal?: AbortSignal): AsyncGenerator<string, void> {
  await using permit = await model.acquire({ cost: estimate(prompt), signal })
  const response = await send({ prompt, max_tokens: maxTokens, stream: true }, permit).catch((error: unknown) => {
    // Part of an answer cannot be taken back, so the caller decides whether to ask again. All others wait in any case.
    if (isTemporary(error)) model.pause(retryAfter(error) ?? "1 second")
    throw error
  })
  for await (const line of lines(response.body!)) {
    const event = JSON.parse(line) as { readonly text: string } | { readonly usage: Usage }
    if ("text" in event) yield event.text
    else permit.correct({ tokens: event.usage.total_tokens })
  }
}

async function* lines(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string, void> {
  let rest = ""
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + chunk).split("\n")
    rest = parts.pop()!
    yield* parts
  }
}
