/** What a CommonJS program would write: run by check.ts against the tarballs, on every version of Node that is meant. */
const assert = require("node:assert/strict")
const { createMeter, runAll } = require("@fibermeter/promise")

const main = async () => {
  assert.deepEqual(await runAll([1, 2, 3], async (n) => n * 2, { maxAtOnce: 2, maxPerSecond: 1000 }), [2, 4, 6])
  const module = await import("@fibermeter/promise")
  // One copy of the package, however it is loaded: a meter of one is a meter of the other.
  assert.equal(module.runAll, runAll)
  assert.deepEqual(await module.runAll([1], (n) => n, { meter: createMeter({ maxAtOnce: 1 }) }), [1])
  // Core has the ES module only, and Node's `require` takes that as well.
  assert.equal(typeof require("fibermeter").runAll, "function")
}

void main()
