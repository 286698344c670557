/** Programs that have failed, with the faults that they have found. */
import { call, task } from "./program.ts"
import type { Program } from "./program.ts"

const meters = [{ maxAtOnce: 1 }, { maxAtOnce: 1 }]
const sleep = (ms: number) => ({ do: "sleep", ms }) as const
const held = { isAwaited: true, passesSignal: false } as const

/** Two calls wait for the same signal; when the first one leaves, there is room for the second. */
const abortedTogether = (verb: "run" | "runAll"): Program => ({
  isOrdered: false,
  meters: [{ window: { limit: 3, per: 20 } }, { maxAtOnce: 1 }],
  steps: [
    { at: 0, do: "call", call: call({ verb: "run", tasks: [task()] }) },
    {
      at: 1,
      do: "call",
      call: call({
        verb: "run",
        meters: [1],
        tasks: [
          task({
            parts: [
              ...[3, 1].map((w) => ({
                do: "call" as const,
                call: call({ verb: w === 3 ? "run" : verb, tasks: [task()], cost: { w, v: 1 } }),
                isAwaited: false,
                passesSignal: true
              })),
              sleep(10)
            ]
          })
        ],
        hasSignal: true
      })
    },
    { at: 2, do: "abort", call: 1 }
  ]
})

export const kept: Readonly<Record<string, Program>> = {
  "a task that calls for a meter behind a waiter for that one and its own is admitted": {
    isOrdered: true,
    meters,
    steps: [
      {
        at: 0,
        do: "call",
        call: call({
          verb: "run",
          tasks: [
            task({
              parts: [sleep(5), { do: "call", call: call({ verb: "run", meters: [1], tasks: [task()] }), ...held }]
            })
          ]
        })
      },
      { at: 1, do: "call", call: call({ verb: "runAll", meters: [0, 1], tasks: [task()] }) }
    ]
  },
  "the same with the meters in the other order": {
    isOrdered: false,
    meters,
    steps: [
      {
        at: 0,
        do: "call",
        call: call({
          verb: "run",
          meters: [1],
          tasks: [
            task({
              parts: [sleep(5), { do: "call", call: call({ verb: "run", meters: [0], tasks: [task()] }), ...held }]
            })
          ]
        })
      },
      { at: 1, do: "call", call: call({ verb: "runAll", meters: [0, 1], tasks: [task()] }) }
    ]
  },
  "a reader held up by the old limit is woken by the new one": {
    isOrdered: true,
    meters: [{ maxAtOnce: 1 }],
    steps: [
      {
        at: 0,
        do: "call",
        call: call({ verb: "amap", tasks: Array.from({ length: 8 }, () => task()), readerTakes: 10 })
      },
      { at: 5, do: "resize", meter: 0, to: { maxAtOnce: 4 } }
    ]
  },
  "a closed meter starts nothing that waited behind another meter's waiter": {
    isOrdered: true,
    meters: [{ window: { limit: 3, per: 50 } }, { maxAtOnce: 1 }],
    steps: [
      { at: 0, do: "call", call: call({ verb: "run", tasks: [task()], cost: { w: 2, v: 1 } }) },
      { at: 1, do: "call", call: call({ verb: "runOnEach", meters: [0, 1], tasks: [task()], cost: { w: 3, v: 1 } }) },
      { at: 2, do: "call", call: call({ verb: "runOnEach", meters: [0, 1], tasks: [task()] }) },
      { at: 3, do: "close", meter: 0 }
    ]
  },
  "a corrected cost counts at all meters before the next task is admitted": {
    isOrdered: true,
    meters: [{ window: { limit: 3, per: 50 } }, { window: { limit: 3, per: 50 } }],
    steps: [
      {
        at: 0,
        do: "call",
        call: call({
          verb: "runAll",
          meters: [0, 1],
          tasks: [task({ parts: [sleep(5)], corrects: { w: 3, v: 1 } })],
          cost: { w: 1, v: 3 }
        })
      },
      { at: 1, do: "call", call: call({ verb: "runAll", meters: [0, 1], tasks: [task()] }) }
    ]
  },
  "nothing starts for a signal that has aborted, whichever call learns of it first": abortedTogether("run"),
  "nor does a task of a list": abortedTogether("runAll"),
  "a call that waits for what it has abandoned can still be aborted": {
    isOrdered: true,
    meters: [{ maxAtOnce: 3 }],
    steps: [
      {
        at: 0,
        do: "call",
        call: call({
          verb: "amap",
          tasks: [task({ parts: [sleep(35)], isDeaf: true }), task(), task()],
          timeout: 15,
          grace: Infinity,
          failures: "are results",
          readerTakes: 20,
          hasSignal: true
        })
      },
      { at: 18, do: "abort", call: 0 }
    ]
  }
}
