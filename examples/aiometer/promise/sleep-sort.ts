/** Sorts numbers: each task sleeps for as many seconds as its number. */
import { setTimeout } from "node:timers/promises"
import { amap } from "@fibermeter/promise"

const numbers = [0.3, 0.1, 0.6, 0.2, 0.7, 0.5, 0.5, 0.2]

const sorted = await Array.fromAsync(amap(numbers, (n) => setTimeout(1000 * n, n)))

console.log(sorted) // => [0.1, 0.2, 0.2, 0.3, 0.5, 0.5, 0.6, 0.7]
