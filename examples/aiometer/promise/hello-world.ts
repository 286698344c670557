/** The four verbs. */
import { setTimeout } from "node:timers/promises"
import { amap, runAll, runAny, runOnEach } from "@fibermeter/promise"

// Simulates input and output that take their time: Robert is the last to be greeted.
const delays = { Robert: 250, Carmen: 50, Lucas: 150 }
const names = ["Robert", "Carmen", "Lucas"] as const

const getGreeting = async (name: keyof typeof delays) => {
  await setTimeout(delays[name])
  return `Hello, ${name}!`
}

// Run an async function on each item, in any order of ending, without results:
const greeted: Array<string> = []
await runOnEach(names, async (name) => {
  greeted.push(await getGreeting(name))
})
console.log(greeted) // => ["Hello, Carmen!", "Hello, Lucas!", "Hello, Robert!"]

// The results in the order of the items, like Promise.all:
console.log(await runAll(names, getGreeting)) // => ["Hello, Robert!", "Hello, Carmen!", "Hello, Lucas!"]

// Each result as soon as it is there:
for await (const greeting of amap(names, getGreeting)) {
  console.log(greeting)
}

// The first to succeed, like Promise.any; the others are cancelled:
console.log(await runAny(names, getGreeting)) // => "Hello, Carmen!"

// Where the tasks differ from each other: functions, in a list or with names.
console.log(await runAll([() => getGreeting("Lucas"), () => 42])) // => ["Hello, Lucas!", 42]
