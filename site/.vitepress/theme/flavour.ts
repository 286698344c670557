/** Whether examples are shown for promises or for Effect: one choice for all pages, which the browser remembers. */
import { ref } from "vue"
import type { Ref } from "vue"
import type { Flavour } from "../../playground/code.ts"

const key = "fibermeter-flavour"

/** On the server, and until a page has been mounted, the same for all. */
const flavour = ref<Flavour>("promise")

export const useFlavour = (): Ref<Flavour> => flavour

/** To be called when a page has been mounted. */
export const restoreFlavour = (): void => {
  try {
    if (localStorage.getItem(key) === "effect") flavour.value = "effect"
  } catch {
    // Storage may be forbidden.
  }
}

export const chooseFlavour = (chosen: Flavour): void => {
  flavour.value = chosen
  try {
    localStorage.setItem(key, chosen)
  } catch {
    // Then it holds until the page is left.
  }
}
