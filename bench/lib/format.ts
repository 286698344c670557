/** Numbers as people read them. */
import type { Spread } from "./stats.ts"

const grouped = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 1 })

/** With a thousands separator, and a decimal at the most. */
export const count = (value: number): string => grouped.format(value)

/** Three significant digits or so. */
export const ratio = (value: number): string => (value >= 10 ? value.toFixed(1) : value.toFixed(value < 0.1 ? 3 : 2))

export const spread = ({ max, median, min }: Spread, format: (value: number) => string): string =>
  `${format(median)} (${format(min)} – ${format(max)})`

export const percent = (value: number): string => `${(value * 100).toFixed(value > 0.99 && value < 1.01 ? 2 : 1)} %`

export const nanos = (value: number): string => count(value >= 100 ? Math.round(value) : value)

export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`

export const kilobytes = (bytes: number): string => `${(bytes / 1000).toFixed(2)} kB`

export const millis = (value: number): string => `${value.toFixed(value < 10 ? 1 : 0)} ms`

export const seconds = (millis: number): string => `${(millis / 1000).toFixed(2)} s`

export const micros = (value: number): string => `${value.toFixed(value < 10 ? 1 : 0)} µs`
