/** Sorts numbers by sleeping for as long as each of them is. In tenths of a second where aiometer's example has seconds. */
import { setTimeout } from "node:timers/promises"
import { amap } from "@fibermeter/promise"

const numbers = [0.3, 0.1, 0.6, 0.2, 0.7, 0.5, 0.5, 0.2]

const sorted = await Array.fromAsync(amap(numbers, (n) => setTimeout(100 * n, n)))

console.log(sorted) // => [0.1, 0.2, 0.2, 0.3, 0.5, 0.5, 0.6, 0.7]
