/** A function with several parameters: one item holds all its arguments. */
import { Effect, Stream } from "effect"
import { amap } from "fibermeter"

const multiply = (x: number, y: number) => Effect.succeed(x * y)

const xs = [1, 2, 3]
const ys = [10, 20, 30]
const points = xs.map((x, i) => ({ x, y: ys[i] ?? 0 }))

const products = amap(points, ({ x, y }) => multiply(x, y), { maxAtOnce: 2 })

console.log(await Effect.runPromise(Stream.runSum(products))) // => 140
