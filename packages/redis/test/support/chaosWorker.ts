/**
 * A process in chaos: `node chaosWorker.ts '{ … }'`. It keeps calls waiting under a meter that it shares with others, until a
 * line comes in; then it makes no more of them, waits for those that it has, closes its meter and ends.
 *
 * It writes a line for each start (`s`), end (`e`) and event (`!`), with the time of the machine's monotonic clock in
 * microseconds, which is the same in all processes. For a start and an end, the number of the call follows, and for an end
 * whether it was the signal's doing. A line `g` has from when to when the process did not run, if that was longer than 15
 * milliseconds. At the end, it writes how many calls it has made (`d`), after a line for each whose task has not started just
 * once (`?`).
 */
import { createMeter, type MeterOptions } from "@fibermeter/promise"
import { LeaseLostError, redisStore, type StoreOptions } from "@fibermeter/redis"
import { openClient, type ClientKind } from "./client.ts"

export interface ChaosWork {
  readonly port: number
  readonly client: ClientKind
  readonly name: string
  readonly limits: MeterOptions
  readonly store: StoreOptions
  /** Calls that wait or run at a time. */
  readonly calls: number
  /** How long tasks take, in milliseconds. */
  readonly takes: readonly [least: number, most: number]
}

const work = JSON.parse(process.argv[2]!) as ChaosWork
const now = (): number => Number(process.hrtime.bigint() / 1_000n)
const write = (line: string): void => void process.stdout.write(`${line}\n`)

const { client, close } = await openClient(work.client, work.port)
const store = redisStore(client, { ...work.store, onEvent: ({ type }) => write(`! ${now()} ${type}`) })
const meter = createMeter({ ...work.limits, store, name: work.name })
let isOver = false
process.stdin.once("data", () => {
  isOver = true
  process.stdin.pause()
})

let last = now()
setInterval(() => {
  const at = now()
  if (at - last > 15_000) write(`g ${at} ${last}`)
  last = at
}, 5).unref()

let made = 0
const call = async (): Promise<void> => {
  const id = ++made
  let starts = 0
  const [least, most] = work.takes
  const millis = least + Math.random() * (most - least)
  const outcome = await meter
    .run(({ signal }) => {
      // Before anything else: what counts is when the task is called.
      write(`s ${now()} ${id}`)
      starts++
      return new Promise<void>((resolve) => {
        const end = (): void => {
          write(`e ${now()} ${id} ${signal.aborted}`)
          clearTimeout(timer)
          signal.removeEventListener("abort", end)
          resolve()
        }
        const timer = setTimeout(end, millis)
        signal.addEventListener("abort", end)
      })
    })
    .then(
      () => "ended",
      (error: unknown) => (error instanceof LeaseLostError ? "ended" : String(error))
    )
  if (starts !== 1 || outcome !== "ended") write(`? ${now()} call ${id} has started ${starts} times: ${outcome}`)
}
write(`r ${now()}`)
await Promise.all(
  Array.from({ length: work.calls }, async () => {
    while (!isOver) await call()
  })
)
await meter.close()
close()
write(`d ${now()} ${made}`)
