/** A run in figures and words, for the table beside the pictures and for screen readers. */
import { peaksOf } from "./brokenLimits.ts"
import { countsAt } from "./series.ts"
import type { Series } from "./series.ts"
import type { Way } from "./wayNames.ts"

export interface Summary {
  readonly way: Way
  readonly time: string
  readonly atOnce: number
  readonly starts: number
  readonly refused: number
  readonly broken: number
  /** Tasks that ran after the call had ended. */
  readonly left: number
  readonly failure: string | undefined
  /** What the picture shows, by the names of `Style`. */
  readonly styles: ReadonlyArray<string>
}

const seconds = (millis: number): string => `${(millis / 1000).toFixed(millis < 10_000 ? 2 : 1)} s`

export const summaryOf = (way: Way, series: Series): Summary => {
  const { broken, end, recording, window } = series
  const { atOnce, starts } = peaksOf(recording, window.per)
  const { failed, refused, cancelled } = countsAt(series, Infinity)
  const shown = { waiting: 1, done: 1, failed, refused, cancelled, broken: broken.length }
  return {
    styles: Object.entries(shown).flatMap(([style, count]) => (count > 0 ? [style] : [])),
    way,
    time: seconds(Math.min(recording.calledUntil, end)),
    atOnce,
    starts,
    refused,
    broken: broken.length,
    left: recording.attempts.filter(({ to }) => to > recording.calledUntil).length,
    failure: recording.failure
  }
}

export const sentenceOf = (
  { atOnce, broken, failure, left, refused, starts, time, way }: Summary,
  per: string
): string =>
  [
    `${way}: ${failure === undefined ? `ends after ${time}` : `fails after ${time} (${failure})`}`,
    `at most ${atOnce} at once`,
    `at most ${starts} starts in ${per}`,
    ...(refused > 0 ? [`${refused} refused with 429`] : []),
    ...(left > 0 ? [`${left} still running after its end`] : []),
    broken > 0 ? `limits broken ${broken} ${broken === 1 ? "time" : "times"}` : "all limits kept"
  ].join(", ")

export const windowLabel = ({ window }: Series): string =>
  window.per === 1000 ? "any second" : `any ${Number((window.per / 1000).toFixed(2))} s`
