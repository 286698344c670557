import { data } from "fibermeter/engine"

/** A value that is created at its first use, such as the checks of options: creating them all would delay the import. */
export const once = data.once
