/**
 * A line in the terminal that shows the progress of a call. `onProgress` is called ten times a second and once at the end,
 * so the display needs no throttling.
 */
import { setTimeout } from "node:timers/promises"
import { type Progress, runAll } from "@fibermeter/promise"
import yoctoSpinner from "yocto-spinner"
import { serve } from "./serve.ts"

// The first request for every tenth document fails.
const asked = new Set<string>()
await using server = await serve(async ({ url = "/" }, response) => {
  await setTimeout(10)
  if (url.endsWith("0") && !asked.has(url)) response.statusCode = 503
  asked.add(url)
  response.end(url)
})

const getDocument = async (id: number, signal: AbortSignal) => {
  const response = await fetch(`${server.url}/${id}`, { signal })
  if (!response.ok) throw new Error(`document ${id}: ${response.status}`)
  return response.text()
}

const spinner = yoctoSpinner().start()

const show = ({ succeeded, failed, total, running, retried, rate }: Progress) => {
  const counts = `${succeeded + failed} of ${total}, ${running} running, ${retried} retries`
  spinner.text = `${counts}, ${rate.toFixed(0)} per second`
}

const ids = Array.from({ length: 100 }, (_, i) => i + 1)
try {
  const documents = await runAll(ids, (id, { signal }) => getDocument(id, signal), {
    maxAtOnce: 10,
    retry: { delay: 20 },
    onProgress: show
  })
  spinner.success()
  console.log(`${documents.length} documents`)
} catch (error) {
  spinner.error(String(error))
  process.exitCode = 1
}
