import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { existsSync, readFileSync, statSync } from "node:fs"
import { extname, join, normalize } from "node:path"

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".json": "application/json",
  ".txt": "text/plain; charset=utf-8",
  ".woff2": "font/woff2"
}

/** Serves a folder on a free port of the loopback interface, as a static host does: a page without its `.html`. */
export const serve = async (folder: string): Promise<{ readonly url: string; readonly close: () => void }> => {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname))
    const file = [path, `${path}.html`, join(path, "index.html")]
      .map((each) => join(folder, each))
      .find((each) => existsSync(each) && statSync(each).isFile())
    response.statusCode = file === undefined ? 404 : 200
    response.setHeader("content-type", types[extname(file ?? "")] ?? "application/octet-stream")
    response.end(file === undefined ? "" : readFileSync(file))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    close: () => {
      server.closeAllConnections()
      server.close()
    }
  }
}
