/**
 * Runs programs under Sinon's fake timers, one after the other, and prints as JSON what each has logged. For a process of its
 * own, since fakes replace the clock of everything.
 */
import FakeTimers from "@sinonjs/fake-timers"
import { pathToFileURL } from "node:url"

const logs: Record<string, Array<string>> = {}
const { log } = console
// Once for all: Effect keeps the clock that it was loaded with.
const clock = FakeTimers.install({
  now: 0,
  toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance", "hrtime"]
})

for (const file of process.argv.slice(2)) {
  const lines: Array<string> = []
  console.log = (...args: ReadonlyArray<unknown>) => void lines.push(args.join(" "))
  let settled = false
  const settle = (): void => {
    settled = true
  }
  import(pathToFileURL(file).href).then(settle, settle)
  for (;;) {
    // Effect's scheduler uses several turns.
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
    if (settled) break
    // Until a program is loaded, it has no timers.
    if (clock.countTimers() > 0) clock.next()
  }
  logs[file] = lines
}

console.log = log
process.stdout.write(JSON.stringify(logs))
