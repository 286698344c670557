/**
 * Crawls all pages that can be reached from a URL, and prints them. Each host gets as many requests as its robots.txt
 * allows, and all hosts together at most 20 at once. Ctrl-C ends the crawl, and prints the pages so far.
 *
 *     node crawl.ts http://localhost:8080/
 */
import { createKeyedMeter, createMeter, createWorkQueue, type Progress, runOnEach } from "@fibermeter/promise"

const stop = new AbortController()
process.once("SIGINT", () => stop.abort())

const everything = createMeter({ maxAtOnce: 20 })
const hosts = createKeyedMeter<string>({ maxAtOnce: 2 })
const queue = createWorkQueue<URL>([], { key: ({ href }) => href })
const pages: Array<{ readonly url: string; readonly title: string }> = []
const broken: Array<string> = []

/** Reads the robots.txt of a host. Its delay between two requests becomes a window of the host's meter. */
const readRobots = async ({ host, origin }: URL) => {
  const response = await fetch(`${origin}/robots.txt`, { signal: stop.signal })
  const seconds = response.ok ? /^crawl-delay: *([\d.]+)/im.exec(await response.text())?.[1] : undefined
  const delay = 1000 * Number(seconds ?? 0)
  // Not `maxPerSecond`, which makes up for late starts. The first page keeps the distance from the robots.txt, too.
  if (delay > 0) {
    hosts.for(host).resize({ windows: { delay: { limit: 1, per: delay } } })
    hosts.for(host).pause(delay)
  }
}

/** Adds pages to the queue, once the delays of their hosts are known. */
const robots = new Map<string, Promise<void>>()
const add = async (urls: ReadonlyArray<URL>) => {
  for (const url of urls) if (!robots.has(url.host)) robots.set(url.host, readRobots(url))
  await Promise.all(urls.map(({ host }) => robots.get(host)!))
  queue.add(...urls)
}

const visit = async (url: URL, signal: AbortSignal) => {
  const response = await fetch(url, { signal })
  const html = await response.text()
  if (!response.ok) return void broken.push(url.href)
  await add(Array.from(html.matchAll(/<a href="([^"#]*)/g), ([, href]) => new URL(href!, url)))
  pages.push({ url: url.href, title: /<title>(.*?)<\/title>/.exec(html)?.[1] ?? "" })
}

const show = ({ running, rate }: Progress) =>
  process.stderr.write(`\r${pages.length} pages, ${running} running, ${queue.size} waiting, ${rate.toFixed(0)}/s `)

try {
  await add([new URL(process.argv[2]!)])
  await runOnEach(queue, (url, { signal }) => visit(url, signal), {
    meter: ({ host }) => [everything, hosts.for(host)],
    timeout: "10 seconds",
    retry: { times: 3 },
    signal: stop.signal,
    onProgress: show
  })
} catch (error) {
  if (!stop.signal.aborted) throw error
}
console.error()
for (const { title, url } of pages) console.log(`${url} ${title}`)
console.log(`${pages.length} pages, ${broken.length} broken links${stop.signal.aborted ? ", stopped early" : ""}`)
