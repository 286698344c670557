/** A site of 300 pages on five hosts, for the crawler. The hosts are servers on loopback ports, so each has a robots.txt. */
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

export interface Host {
  readonly origin: string
  /** The paths in the order of their requests. */
  readonly requests: Array<string>
  /** The most requests that were open at once. */
  mostAtOnce: number
}

export interface Site extends AsyncDisposable {
  /** The URL of the first page. */
  readonly start: string
  readonly hosts: ReadonlyArray<Host>
  /** All pages. */
  readonly pages: ReadonlyArray<string>
}

/** Seconds between two requests, by each host's robots.txt. The last one has none. */
export const delays = [0.005, 0.01, 0.02, 0.001]

/** `answers`: how many pages are answered. Requests after those stay open. */
export const serveSite = async (answers = Infinity): Promise<Site> => {
  let left = answers
  const hosts: Array<Host> = []
  const urlOf = (page: number) => `${hosts[page % 5]!.origin}/${Math.floor(page / 5)}`
  const servers = Array.from({ length: 5 }, (_, index) => {
    let open = 0
    return createServer((request, response) => {
      const host = hosts[index]!
      const path = request.url!
      host.requests.push(path)
      host.mostAtOnce = Math.max(host.mostAtOnce, ++open)
      response.once("close", () => open--)
      if (path === "/robots.txt") {
        if (index < delays.length) response.end(`User-agent: *\nCrawl-delay: ${delays[index]}\n`)
        else response.writeHead(404).end()
      } else if (path === "/missing") {
        response.writeHead(404).end("no such page")
      } else if (left-- > 0) {
        const page = 5 * Number(path.slice(1)) + index
        // A tree, with links across it, back to the start, and one to a page that does not exist.
        const links = [2 * page + 1, 2 * page + 2, (7 * page) % 300, 0].filter((link) => link < 300).map(urlOf)
        if (page === 17) links.push("/missing")
        const anchors = links.map((link) => `<a href="${link}">link</a>`)
        response.end(`<title>Page ${page}</title><body>${anchors.join("\n")}</body>`)
      }
    })
  })
  for (const server of servers) {
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    const { port } = server.address() as AddressInfo
    hosts.push({ origin: `http://127.0.0.1:${port}`, requests: [], mostAtOnce: 0 })
  }
  return {
    start: urlOf(0),
    hosts,
    pages: Array.from({ length: 300 }, (_, page) => urlOf(page)),
    [Symbol.asyncDispose]: async () => {
      for (const server of servers) server.closeAllConnections()
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()))
    }
  }
}
