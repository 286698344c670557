import { readFileSync } from "node:fs"
import { join } from "node:path"
import { defineConfig } from "vitepress"

interface Page {
  readonly text: string
  readonly link: string
}

/** Written by `prepare.ts`. */
const pages = join(import.meta.dirname, "../.pages")
const contents = JSON.parse(readFileSync(join(pages, "contents.json"), "utf8")) as {
  readonly recipes: ReadonlyArray<Page>
  readonly guides: ReadonlyArray<Page>
}

const titles: Readonly<Record<string, string>> = {
  "/promise/guide": "Guide",
  "/effect/guide": "Guide",
  "/redis/": "Overview",
  "/benchmarks": "Benchmarks"
}
const guides = (prefix: string): Array<Page> =>
  contents.guides
    .filter(({ link }) => link.startsWith(prefix))
    .map(({ link, text }) => ({ text: titles[link] ?? text, link }))

/** Documents that have no place of their own. */
const placed = [
  "/side-by-side",
  "/how-it-works",
  "/testing-your-code",
  "/moving-over",
  "/aiometer",
  "/benchmarks",
  "/observability"
]
const others = contents.guides
  .filter(({ link }) => !placed.includes(link) && !/^\/(promise|effect|redis)\//.test(link))
  .map(({ link, text }) => ({ text, link }))

const description =
  "Run many async tasks with limits on how many run at once and how many start per second, with real cancellation."

/** The folder below which the site is served. */
const base = (process.env["SITE_BASE"] as `/${string}/` | undefined) ?? "/"

export default defineConfig({
  title: "fibermeter",
  description,
  lang: "en",
  base,
  head: [["link", { rel: "icon", type: "image/svg+xml", href: `${base}favicon.svg` }]],
  srcDir: ".pages",
  // What is served as text.
  srcExclude: ["public/**"],
  cleanUrls: true,
  // Examples are marked `ts no-run` or `ts continues` for the tests.
  markdown: {
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
    config: (md) => {
      // An empty cell in the head of a table is no header.
      md.core.ruler.push("empty headers", ({ tokens }) => {
        for (const [index, token] of tokens.entries()) {
          if (token.type !== "th_open" || tokens[index + 1]?.content !== "") continue
          token.tag = "td"
          tokens[index + 2]!.tag = "td"
        }
      })
    }
  },
  vite: {
    build: { target: "es2022", chunkSizeWarningLimit: 5000 },
    worker: { format: "es" }
  },
  themeConfig: {
    search: { provider: "local" },
    outline: [2, 3],
    nav: [
      { text: "Playground", link: "/playground" },
      { text: "Getting started", link: "/getting-started" },
      { text: "Recipes", link: contents.recipes[0]?.link ?? "/recipes/" },
      { text: "API", link: "/api/promise/", activeMatch: "^/api/" }
    ],
    sidebar: [
      {
        text: "Start",
        items: [
          { text: "Getting started", link: "/getting-started" },
          { text: "Playground", link: "/playground" },
          { text: "Concepts", link: "/concepts" },
          { text: "Both packages side by side", link: "/side-by-side" },
          { text: "How it works", link: "/how-it-works" },
          { text: "Inside the engine", link: "/engine" }
        ]
      },
      { text: "Promises", items: guides("/promise/") },
      { text: "Effect", items: guides("/effect/") },
      { text: "Recipes", items: [...contents.recipes] },
      { text: "Running on Redis", items: guides("/redis/") },
      {
        text: "More",
        items: [
          { text: "Observability", link: "/observability" },
          { text: "Testing your code", link: "/testing-your-code" },
          { text: "Moving over", link: "/moving-over" },
          { text: "aiometer's examples", link: "/aiometer" },
          { text: "Benchmarks", link: "/benchmarks" },
          ...others
        ]
      },
      {
        text: "API",
        items: [
          { text: "@fibermeter/promise", link: "/api/promise/" },
          { text: "fibermeter", link: "/api/fibermeter/" },
          { text: "@fibermeter/redis", link: "/api/redis/" }
        ]
      }
    ],
    footer: { message: "MIT license" }
  }
})
