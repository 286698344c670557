/**
 * A process that shares a meter with others: `node worker.ts '{ … }'`. It writes a line for each start (`s`), end (`e`) and
 * event (`!`), with the time of the machine's monotonic clock in microseconds, which is the same in all processes.
 */
import { createMeter } from "@fibermeter/promise"
import type { MeterOptions } from "@fibermeter/promise"
import { redisStore } from "@fibermeter/redis"
import type { StoreOptions } from "@fibermeter/redis"
import { openClient, type ClientKind } from "./client.ts"

export interface Work {
  readonly port: number
  readonly client: ClientKind
  readonly name: string
  readonly limits: MeterOptions
  readonly store: StoreOptions
  readonly tasks: number
  /** How long each task takes. */
  readonly taskMillis: number
  /** Ends without giving anything back. */
  readonly exits?: boolean
}

const work = JSON.parse(process.argv[2]!) as Work
const now = (): number => Number(process.hrtime.bigint() / 1_000n)
const write = (line: string): void => void process.stdout.write(`${line}\n`)

/** For so long, or until the signal aborts: a task whose lease is over holds nothing any more. */
const sleep = (millis: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, millis)
    signal.addEventListener("abort", () => resolve())
  })

const { client, close } = await openClient(work.client, work.port)
const onEvent = ({ type }: { readonly type: string }): void => write(`! ${now()} ${type}`)
const store = redisStore(client, { ...work.store, onEvent })
const meter = createMeter({ ...work.limits, store, name: work.name })
write(`r ${now()}`)
await new Promise<void>((resolve) => process.stdin.once("data", () => resolve()))
process.stdin.pause()
await Promise.all(
  Array.from({ length: work.tasks }, () =>
    meter
      .run(async ({ signal }) => {
        // Before anything else: what counts is when the task is called.
        const at = now()
        write(`s ${at}`)
        if (work.taskMillis > 0) await sleep(work.taskMillis, signal)
        write(`e ${now()}`)
      })
      .catch((error: unknown) => write(`! ${now()} ${String(error)}`))
  )
)
if (work.exits !== true) {
  await meter.close()
  close()
}
