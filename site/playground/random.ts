/**
 * What a task does, by the seed: how long each attempt takes and whether it fails. A value depends only on its task and
 * attempt, not on the order in which tasks start, so each way of running them gets the same tasks. `code.ts` prints this
 * function for programs that are copied.
 */
import type { Settings } from "./settings.ts"

/** A number from 0 up to 1 for each key. */
export const random = (...key: ReadonlyArray<number>): number => {
  let x = 0
  for (const part of key) {
    x = Math.imul(x + part + 0x9e3779b9, 0x85ebca6b)
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
    x ^= x >>> 16
  }
  return (x >>> 0) / 2 ** 32
}

/** Milliseconds, whole, at least 1. */
export const durationOf = ({ durations, mean, seed }: Settings, task: number, attempt: number): number => {
  const u = random(seed, task, attempt)
  switch (durations) {
    case "fixed":
      return mean
    case "random":
      return Math.max(1, Math.round(mean * (0.5 + u)))
    case "heavy tail":
      // A Pareto distribution whose exponent is 1.5, cut off at twenty times the mean.
      return Math.max(1, Math.round(Math.min(mean / 3 / (1 - u) ** (2 / 3), 20 * mean)))
  }
}

export const fails = ({ failures, seed }: Settings, task: number, attempt: number): boolean =>
  failures > 0 && random(seed, task, attempt, 1) < failures / 100

/** Half of the calls are in the first lane, a quarter in the second, and so on. */
export const laneOf = ({ lanes, seed }: Settings, task: number): number =>
  Math.min(lanes - 1, Math.floor(-Math.log2(1 - random(seed, task, 2))))

export const isUrgent = ({ urgent }: Settings, task: number): boolean => urgent > 0 && task % urgent === urgent - 1

/** When a call of `run` arrives, in whole milliseconds. */
export const arrivalOf = ({ arrivals }: Settings, task: number): number =>
  arrivals === 0 ? 0 : Math.round((task * 1000) / arrivals)
