/** A function with several parameters: one item holds all its arguments. */
import { amap } from "@fibermeter/promise"

const multiply = async (x: number, y: number) => x * y

const xs = [1, 2, 3]
const ys = [10, 20, 30]
const points = xs.map((x, i) => ({ x, y: ys[i] ?? 0 }))

let sum = 0
for await (const product of amap(points, ({ x, y }) => multiply(x, y), { maxAtOnce: 2 })) {
  sum += product
}
console.log(sum) // => 140
