/**
 * The two limits at work.
 *
 * aiometer's example would run for ten minutes, so this program runs fewer tasks: 50 queries instead of 1,000 at five at
 * once, 12 instead of 1,000 at 10 per second, and two jobs of 0.1 s instead of a hundred of 10 s at one every five seconds.
 * ../core/flow-control.ts runs the full numbers in virtual time.
 */
import { setTimeout } from "node:timers/promises"
import { runOnEach } from "@fibermeter/promise"

let running = 0
let peak = 0
let starts: Array<number> = []

const work = async (milliseconds: number) => {
  starts.push(performance.now())
  running++
  peak = Math.max(peak, running)
  await setTimeout(milliseconds)
  running--
}
const makeQuery = (_query: string) => work(50)
const job = (_id: number) => work(100)

const queries = Array.from({ length: 50 }, () => "SELECT * FROM authors")

// At most 5 queries run at once:
await runOnEach(queries, makeQuery, { maxAtOnce: 5 })
console.log(`${starts.length} queries, at most ${peak} at once`)

// At most 10 queries start per second:
starts = []
await runOnEach(queries.slice(0, 12), makeQuery, { maxPerSecond: 10 })
const inSecondFrom = (from: number) => starts.filter((start) => start >= from && start < from + 1000).length
console.log(`${starts.length} queries, at most ${Math.max(...starts.map(inSecondFrom))} in any second`)

// At most 10 jobs run at once, and one starts every 5 seconds:
starts = []
await runOnEach([1, 2], job, { maxAtOnce: 10, maxPerSecond: 0.2 })
const [first = NaN, second = NaN] = starts
console.log(`${starts.length} jobs, ${second - first} ms apart`)
