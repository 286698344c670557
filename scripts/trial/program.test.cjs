/** A Jest test as people write them, in CommonJS: run by check.ts against the tarballs. */
const { createMeter, runAll } = require("@fibermeter/promise")

test("a call and a meter", async () => {
  const meter = createMeter({ maxAtOnce: 1 })
  expect(await runAll([1, 2, 3], async (n) => n * 2, { meter })).toEqual([2, 4, 6])
  expect(await meter.run(({ signal }) => signal.aborted)).toBe(false)
  await expect(runAll([1], () => {}, { maxAtOnce: 0 })).rejects.toThrow(RangeError)
})
