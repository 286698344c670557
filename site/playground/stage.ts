/**
 * Runs the ways that are shown, each in a worker, and plays their recordings on canvases: one clock for all. Knows nothing
 * of the page around them.
 */
import type { Colours } from "./pen.ts"
import { canvasPen } from "./pen.ts"
import { draw } from "./draw.ts"
import { seriesOf } from "./series.ts"
import type { Series } from "./series.ts"
import type { Settings } from "./settings.ts"
import type { Way } from "./wayNames.ts"
import type { Job, Report } from "./worker.ts"

/** How inexact a recording in real time may be, in milliseconds: see `brokenLimits`. */
const liveTolerance = 2

/** How long a run takes to play if no speed is chosen, at most, in milliseconds. */
const longestPlay = 12_000

interface Shown {
  readonly way: Way
  readonly canvas: HTMLCanvasElement
  worker: Worker | undefined
  series: Series | undefined
}

export interface StageEvents {
  /** New recordings are there. */
  readonly onRuns: (runs: ReadonlyArray<Series>) => void
  /** The instant or whether it plays has changed. */
  readonly onTime: (now: number, duration: number, isPlaying: boolean) => void
}

export class Stage {
  private readonly events: StageEvents
  private readonly startWorker: () => Worker
  private shown: Array<Shown> = []
  private colours: Colours
  private now = 0
  private isPlaying = false
  private isLive = false
  private isVisible = true
  private frame: number | undefined
  private lastFrame = 0
  /** How much faster than real time; 0 chooses. */
  private speed = 0

  constructor(startWorker: () => Worker, colours: Colours, events: StageEvents) {
    this.startWorker = startWorker
    this.colours = colours
    this.events = events
  }

  /** Runs settings from the start, or shows the end of it if it is not to be played. */
  run(
    settings: Settings,
    canvases: ReadonlyArray<readonly [way: Way, canvas: HTMLCanvasElement]>,
    options: { readonly isLive: boolean; readonly play: boolean }
  ): void {
    this.stop()
    this.isLive = options.isLive
    this.shown = canvases.map(([way, canvas]) => ({ way, canvas, worker: undefined, series: undefined }))
    const ready = (): void => {
      if (this.shown.some(({ series }) => series === undefined)) return
      this.events.onRuns(this.shown.map(({ series }) => series!))
    }
    let isFirst = true
    for (const each of this.shown) {
      const worker = this.startWorker()
      each.worker = worker
      worker.addEventListener("message", ({ data }: MessageEvent<Report>) => {
        const until = data.isDone ? data.recording.end : data.now
        each.series = seriesOf(data.recording, settings, until, options.isLive ? liveTolerance : 0)
        if (data.isDone) {
          worker.terminate()
          each.worker = undefined
        }
        if (this.shown.some(({ series }) => series === undefined)) return
        if (isFirst) {
          isFirst = false
          this.now = options.play || this.isLive ? 0 : this.duration
          this.isPlaying = options.play || this.isLive
        }
        if (this.isLive) this.isPlaying = this.shown.some(({ worker }) => worker !== undefined)
        ready()
        this.schedule()
      })
      const job: Job = { way: each.way, settings, isLive: this.isLive }
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- workers have no origin to name
      worker.postMessage(job)
    }
  }

  private get duration(): number {
    return this.shown.reduce((longest, { series }) => Math.max(longest, series?.end ?? 0), 1)
  }

  private get pace(): number {
    if (this.isLive) return 1
    return this.speed > 0 ? this.speed : Math.max(1, this.duration / longestPlay)
  }

  play(): void {
    if (this.now >= this.duration) this.now = 0
    this.isPlaying = true
    this.schedule()
  }

  pause(): void {
    this.isPlaying = false
    this.schedule()
  }

  seek(now: number): void {
    this.now = Math.max(0, Math.min(this.duration, now))
    this.isPlaying = false
    this.schedule()
  }

  setSpeed(speed: number): void {
    this.speed = speed
  }

  setColours(colours: Colours): void {
    this.colours = colours
    this.schedule()
  }

  /** Draws again, for example at another size. */
  schedule(): void {
    if (this.frame !== undefined) return
    // Time that passed while nothing was drawn is not played.
    this.lastFrame = 0
    this.frame = requestAnimationFrame(this.onFrame)
  }

  setVisible(isVisible: boolean): void {
    this.isVisible = isVisible
    if (isVisible) this.schedule()
  }

  private readonly onFrame = (at: number): void => {
    this.frame = undefined
    const elapsed = this.lastFrame === 0 ? 0 : at - this.lastFrame
    this.lastFrame = at
    if (this.isLive) {
      // The workers say what time it is; in between it passes here.
      this.now = this.isPlaying ? Math.max(this.duration, this.now + elapsed) : this.duration
    } else if (this.isPlaying) {
      this.now = Math.min(this.duration, this.now + elapsed * this.pace)
      if (this.now >= this.duration) this.isPlaying = false
    }
    this.drawAll()
    this.events.onTime(this.now, this.duration, this.isPlaying)
    if (this.isPlaying && this.isVisible) this.frame = requestAnimationFrame(this.onFrame)
  }

  private drawAll(): void {
    const duration = this.isLive ? Math.max(this.duration, this.now) * 1.02 : this.duration
    for (const { canvas, series, way } of this.shown) {
      if (series === undefined) continue
      const { clientHeight: height, clientWidth: width } = canvas
      const ratio = globalThis.devicePixelRatio
      const [pixelWidth, pixelHeight] = [Math.round(width * ratio), Math.round(height * ratio)]
      if (canvas.width !== pixelWidth || canvas.height !== pixelHeight) {
        canvas.width = pixelWidth
        canvas.height = pixelHeight
      }
      const context = canvas.getContext("2d")!
      context.setTransform(ratio, 0, 0, ratio, 0, 0)
      context.clearRect(0, 0, width, height)
      draw(canvasPen(context, this.colours), series, { title: way, width, height, now: this.now, duration })
    }
  }

  private stop(): void {
    for (const { worker } of this.shown) worker?.terminate()
  }

  dispose(): void {
    this.stop()
    if (this.frame !== undefined) cancelAnimationFrame(this.frame)
    this.frame = undefined
  }
}
