/** Sorts numbers: each task sleeps for as many seconds as its number. */
import { Effect, Stream } from "effect"
import { amap } from "fibermeter"

const numbers = [0.3, 0.1, 0.6, 0.2, 0.7, 0.5, 0.5, 0.2]

const sorted = amap(numbers, (n) => Effect.as(Effect.sleep(1000 * n), n))

console.log(await Effect.runPromise(Stream.runCollect(sorted))) // => [0.1, 0.2, 0.2, 0.3, 0.5, 0.5, 0.6, 0.7]
