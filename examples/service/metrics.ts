/** Metrics of all meters of the program, from the messages on their diagnostics channels. */
import { subscribe } from "node:diagnostics_channel"
import type { MeterChannels } from "@fibermeter/promise"
import { Counter, Gauge, Histogram, Registry } from "prom-client"

export const metrics = new Registry()

const labelNames = ["meter"]
const registers = [metrics]

const waiting = new Gauge({ name: "meter_waiting", help: "Tasks in the queue", labelNames, registers })
const running = new Gauge({ name: "meter_running", help: "Tasks that run", labelNames, registers })
const waitTime = new Histogram({ name: "meter_wait_seconds", help: "Time in the queue", labelNames, registers })
const runTime = new Histogram({
  name: "meter_run_seconds",
  help: "Time from the start of a task to its end",
  labelNames: [...labelNames, "outcome"],
  registers
})
const refused = new Counter({
  name: "meter_refused_total",
  help: "Tasks that have not started",
  labelNames: [...labelNames, "reason"],
  registers
})

const on = <C extends keyof MeterChannels>(channel: C, f: (message: MeterChannels[C]) => void): void =>
  subscribe(channel, (message) => f(message as MeterChannels[C]))

on("fibermeter:enqueue", ({ name }) => waiting.inc({ meter: name }))

on("fibermeter:start", (message) => {
  const meter = message.name
  // A task that starts at once has not been in the queue.
  if (message.waitTime !== undefined) waiting.dec({ meter })
  running.inc({ meter })
  waitTime.observe({ meter }, (message.waitTime ?? 0) / 1000)
})

on("fibermeter:end", ({ name, outcome, runTime: millis }) => {
  running.dec({ meter: name })
  runTime.observe({ meter: name, outcome }, millis / 1000)
})

on("fibermeter:refuse", (message) => {
  const meter = message.name
  if (message.waitTime !== undefined) waiting.dec({ meter })
  refused.inc({ meter, reason: message.reason })
})
