/** The four verbs. */
import { setTimeout } from "node:timers/promises"
import { amap, runAll, runAny, runOnEach } from "@fibermeter/promise"

// Simulates I/O of different duration. Robert is greeted last.
const delays = { Robert: 250, Carmen: 50, Lucas: 150 }
const names = ["Robert", "Carmen", "Lucas"] as const

const getGreeting = async (name: keyof typeof delays) => {
  await setTimeout(delays[name])
  return `Hello, ${name}!`
}

// Run an async function on each item, without results:
const greeted: Array<string> = []
await runOnEach(names, async (name) => {
  greeted.push(await getGreeting(name))
})
console.log(greeted) // => ["Hello, Carmen!", "Hello, Lucas!", "Hello, Robert!"]

// All results, in input order, like Promise.all:
console.log(await runAll(names, getGreeting)) // => ["Hello, Robert!", "Hello, Carmen!", "Hello, Lucas!"]

// Each result as it becomes available:
for await (const greeting of amap(names, getGreeting)) {
  console.log(greeting)
}

// The first success, like Promise.any. The other tasks are cancelled:
console.log(await runAny(names, getGreeting)) // => "Hello, Carmen!"

// Different tasks: functions, in an array or a record.
console.log(await runAll([() => getGreeting("Lucas"), () => 42])) // => ["Hello, Lucas!", 42]
