/**
 * The request in which code runs, on Cloudflare Workers (see `requests.ts`, which a program without meters does not load). It is
 * recognised by a signal that was made in it, since reading that signal in another request throws.
 */
import { runtime } from "fibermeter/engine"

/** A request, or one of several objects that stand for the same request. */
export class Home {
  private readonly mark = new AbortController().signal

  get isHere(): boolean {
    try {
      return !this.mark.aborted
    } catch {
      return false
    }
  }
}

let last: Home | undefined

/** Only where events belong to requests; elsewhere `undefined`. */
export const presentRequest = (): Home | undefined => {
  if (!runtime.isWorkers) return undefined
  return (last = last?.isHere === true ? last : new Home())
}

/** What follows the waiters of several requests, once there is a meter that these can share. */
export const sharing: { requests: runtime.Requests | undefined } = { requests: undefined }
