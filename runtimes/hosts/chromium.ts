/** Headless Chromium: Debian's, which is installed where it is missing. */
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { delimiter, join } from "node:path"
import { chromium as playwright } from "playwright-core"
import type { Report } from "../inside/report.ts"
import type { Host } from "./host.ts"

const find = (): string | undefined =>
  (process.env["PATH"] ?? "")
    .split(delimiter)
    .map((folder) => join(folder, "chromium"))
    .find((file) => existsSync(file))

const apt = (...args: ReadonlyArray<string>): void => {
  const command = ["apt-get", ...args]
  if (process.getuid?.() !== 0) command.unshift("sudo")
  const [file, ...rest] = command as [string, ...Array<string>]
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
  execFileSync(file, rest, { env, stdio: ["inherit", "ignore", "inherit"] })
}

/** The path of Chromium. */
export const findOrInstall = (): string => {
  const found = find()
  if (found !== undefined) return found
  console.log("chromium is missing: apt-get install chromium")
  const install = () => apt("install", "--yes", "--no-install-recommends", "chromium")
  try {
    install()
  } catch {
    // The list of packages may be older than the packages.
    apt("update")
    install()
  }
  const installed = find()
  if (installed === undefined) throw new Error("apt-get has installed chromium, but there is none in the path")
  return installed
}

const page = "http://localhost/"

export const chromium: Host = {
  name: "Chromium",
  self: "Chromium",
  run: async (bundle, signal) => {
    const browser = await playwright.launch({ executablePath: findOrInstall() })
    const close = () => void browser.close()
    signal.addEventListener("abort", close)
    try {
      const tab = await browser.newPage()
      // There is no server: all requests of the page are answered here.
      await tab.route("**", (route) =>
        route.request().url() === page
          ? route.fulfill({ contentType: "text/html", body: "<!doctype html><title>tests</title>" })
          : route.fulfill({ contentType: "text/javascript", body: readFileSync(bundle) })
      )
      await tab.goto(page)
      return await tab.evaluate<Report, string>(async (name) => {
        const { run } = (await import(`${location.href}tests.mjs`)) as { run: (name: string) => Promise<Report> }
        return run(name)
      }, "Chromium")
    } finally {
      signal.removeEventListener("abort", close)
      await browser.close()
    }
  }
}
