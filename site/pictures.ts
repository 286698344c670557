/**
 * The pictures of the README, by the playground's own drawing: what they show is a run of the libraries that is recorded
 * anew. `node site/pictures.ts` writes them; a test compares.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { draw } from "./playground/draw.ts"
import { styleSheet, svgPen } from "./playground/pen.ts"
import { seriesOf } from "./playground/series.ts"
import { defaults } from "./playground/settings.ts"
import type { Settings } from "./playground/settings.ts"
import { simulate } from "./playground/simulate.ts"
import type { Way } from "./playground/wayNames.ts"

interface Picture {
  readonly file: string
  readonly settings: Settings
  readonly ways: ReadonlyArray<Way>
}

const width = 560
const height = 430
const gap = 16

export const pictures: ReadonlyArray<Picture> = [
  { file: "docs/playground.svg", settings: defaults, ways: ["fibermeter", "p-queue"] }
]

/** Runs the ways and draws them beside each other. */
export const svgOf = async ({ settings, ways }: Picture): Promise<string> => {
  const runs = []
  // One after the other: each has the timers to itself.
  for (const way of ways) runs.push({ way, series: seriesOf(await simulate(way, settings), settings) })
  const duration = Math.max(...runs.map(({ series }) => series.end))
  const panels = runs.map(({ series, way }, index) => {
    const { elements, pen } = svgPen()
    draw(pen, series, { title: way, width, height, now: duration, duration })
    const card = `<rect class="card" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>`
    return `<g transform="translate(${index * (width + gap)} 0)">\n${card}\n${elements.join("\n")}\n</g>`
  })
  const total = ways.length * (width + gap) - gap
  const style = `${styleSheet}.card{fill:#fff;stroke:#d7dde6!important}@media(prefers-color-scheme:dark){.card{fill:#1b1f27;stroke:#2b313c!important}}`
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${total}" height="${height}" viewBox="0 0 ${total} ${height}">\n<style>${style}</style>\n${panels.join("\n")}\n</svg>\n`
}

const root = join(import.meta.dirname, "..")

export const readPicture = ({ file }: Picture): string => readFileSync(join(root, file), "utf8")

if (import.meta.main) {
  for (const picture of pictures) writeFileSync(join(root, picture.file), await svgOf(picture))
}
