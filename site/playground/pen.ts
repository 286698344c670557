/**
 * What the drawing needs of a surface. Styles have names, and each surface has colours for them: a canvas those of the
 * page, an SVG its own style sheet.
 */

export type Style =
  | "waiting"
  | "running"
  | "done"
  | "failed"
  | "refused"
  | "cancelled"
  | "lane0"
  | "lane1"
  | "lane2"
  | "lane3"
  | "lane4"
  | "urgent"
  | "area"
  | "over"
  | "limit"
  | "broken"
  | "grid"
  | "axis"
  | "text"
  | "title"
  | "read"
  | "playhead"
  | "callEnd"

export interface Pen {
  rect(style: Style, x: number, y: number, width: number, height: number): void
  line(style: Style, x1: number, y1: number, x2: number, y2: number): void
  text(style: Style, x: number, y: number, text: string, align?: "start" | "middle" | "end"): void
}

/** The styles that are drawn as strokes with gaps. */
const dashed: ReadonlyArray<Style> = ["limit", "callEnd"]

export type Colours = Readonly<Record<Style, string>>

const lanes = { lane0: "#2f6fde", lane1: "#0b8a6f", lane2: "#8b5bd6", lane3: "#c2410c", lane4: "#0e7490" }

export const light: Colours = {
  ...lanes,
  waiting: "#cfd6e1",
  running: "#2f6fde",
  done: "#2f6fde",
  failed: "#c81e1e",
  refused: "#d97706",
  cancelled: "#8a94a6",
  urgent: "#111827",
  area: "#9dbcf2",
  over: "#e05252",
  limit: "#b42318",
  broken: "rgba(220, 38, 38, 0.16)",
  grid: "#e7ebf1",
  axis: "#aab4c3",
  text: "#4b5565",
  title: "#1b2430",
  read: "#0b8a6f",
  playhead: "#1b2430",
  callEnd: "#4b5565"
}

export const dark: Colours = {
  waiting: "#3d4655",
  running: "#6ea3ff",
  done: "#6ea3ff",
  failed: "#ff6b6b",
  refused: "#fbbf24",
  cancelled: "#7b8699",
  lane0: "#6ea3ff",
  lane1: "#34d399",
  lane2: "#b794f6",
  lane3: "#fb923c",
  lane4: "#22d3ee",
  urgent: "#f9fafb",
  area: "#35558f",
  over: "#e05252",
  limit: "#ff8a80",
  broken: "rgba(248, 113, 113, 0.22)",
  grid: "#2b313c",
  axis: "#566072",
  text: "#aeb8c7",
  title: "#e8ecf2",
  read: "#34d399",
  playhead: "#e8ecf2",
  callEnd: "#aeb8c7"
}

const font = '12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif'

/** The part of `CanvasRenderingContext2D` that is used. */
export type Context = Pick<
  CanvasRenderingContext2D,
  | "fillStyle"
  | "strokeStyle"
  | "font"
  | "textAlign"
  | "fillRect"
  | "beginPath"
  | "moveTo"
  | "lineTo"
  | "stroke"
  | "fillText"
  | "setLineDash"
>

export const canvasPen = (context: Context, colours: Colours): Pen => ({
  rect: (style, x, y, width, height) => {
    context.fillStyle = colours[style]
    context.fillRect(x, y, width, height)
  },
  line: (style, x1, y1, x2, y2) => {
    context.strokeStyle = colours[style]
    context.setLineDash(dashed.includes(style) ? [5, 4] : [])
    context.beginPath()
    context.moveTo(x1, y1)
    context.lineTo(x2, y2)
    context.stroke()
  },
  text: (style, x, y, text, align = "start") => {
    context.fillStyle = colours[style]
    context.font = style === "title" ? `600 ${font}` : font
    context.textAlign = align === "middle" ? "center" : align
    context.fillText(text, x, y)
  }
})

const round = (value: number): number => Math.round(value * 100) / 100

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

const rules = (colours: Colours): string =>
  Object.entries(colours)
    .map(([style, colour]) => `.${style}{fill:${colour};stroke:${colour}}`)
    .join("")

/** Collects elements. `styleSheet` has the colours, for light and dark. */
export const svgPen = (): { readonly pen: Pen; readonly elements: Array<string> } => {
  const elements: Array<string> = []
  return {
    elements,
    pen: {
      rect: (style, x, y, width, height) =>
        void elements.push(
          `<rect class="${style}" x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}"/>`
        ),
      line: (style, x1, y1, x2, y2) =>
        void elements.push(`<path class="${style}" d="M${round(x1)} ${round(y1)}L${round(x2)} ${round(y2)}"/>`),
      text: (style, x, y, text, align = "start") =>
        void elements.push(
          `<text class="${style}" x="${round(x)}" y="${round(y)}" text-anchor="${align}">${escape(text)}</text>`
        )
    }
  }
}

export const styleSheet = `text{font:${font}}rect,text{stroke:none!important}.title{font-weight:600}${dashed.map((style) => `.${style}`).join(",")}{stroke-dasharray:5 4}${rules(light)}@media (prefers-color-scheme:dark){${rules(dark)}}`
