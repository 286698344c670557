/** The built site on a server of this process, and Debian's Chromium. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { chromium } from "playwright-core"
import type { Browser, BrowserContextOptions, Page } from "playwright-core"
import { findOrInstall } from "../../../runtimes/hosts/chromium.ts"
import type { Report } from "../../playground/worker.ts"
import { serve } from "./serve.ts"

const built = join(import.meta.dirname, "../../.vitepress/dist")

export interface Site {
  readonly url: string
  readonly browser: Browser
  /** A new tab, of a context of its own. What goes wrong in it is added to `problems`. */
  readonly open: (path: string, options?: BrowserContextOptions) => Promise<Page>
  readonly problems: Array<string>
  readonly close: () => Promise<void>
}

export const startSite = async (): Promise<Site> => {
  if (!existsSync(built)) throw new Error("the site has not been built: pnpm --filter @fibermeter/site build")
  const { close, url } = await serve(built)
  const browser = await chromium.launch({ executablePath: findOrInstall() })
  const problems: Array<string> = []
  return {
    url,
    browser,
    problems,
    open: async (path, options = {}) => {
      const context = await browser.newContext({ viewport: { width: 1280, height: 1000 }, ...options })
      const page = await context.newPage()
      page.on("console", (message) => {
        if (message.type() === "error" || message.type() === "warning") problems.push(`${path}: ${message.text()}`)
      })
      page.on("pageerror", (error) => problems.push(`${path}: ${error.message}`))
      // What the workers of the page report is what it draws.
      await page.addInitScript(() => {
        const reports: Array<unknown> = []
        Object.assign(globalThis, { reports })
        globalThis.Worker = class extends Worker {
          constructor(url: string | URL, options?: WorkerOptions) {
            super(url, options)
            this.addEventListener("message", ({ data }: MessageEvent<unknown>) => reports.push(data))
          }
        }
      })
      await page.goto(url + path)
      return page
    },
    close: async () => {
      await browser.close()
      close()
    }
  }
}

/** Waits until the runs of the current settings are there. */
export const ready = async (page: Page): Promise<void> => {
  await page.waitForSelector(".playground[data-ready=true]")
  // They are drawn in the next frame.
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))))
}

export const lastReport = (page: Page): Promise<Report> =>
  page.evaluate(() => (globalThis as unknown as { readonly reports: ReadonlyArray<Report> }).reports.at(-1)!)

export const pictures = (page: Page): Promise<ReadonlyArray<string>> =>
  page
    .locator(".playground canvas")
    .evaluateAll((canvases) => canvases.map((canvas) => (canvas as HTMLCanvasElement).toDataURL()))
