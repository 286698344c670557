/**
 * What can be set in the playground, and how a URL holds it.
 *
 * A number of 0 means "no limit" or "off", except where a control says otherwise. `controls` describes each setting once:
 * the form, the URL and the tests are derived from it.
 */

export type Verb = "runAll" | "runOnEach" | "amap" | "runAny" | "run"
export type Durations = "fixed" | "random" | "heavy tail"
export type OnFailure = "stop" | "continue"

export interface Settings {
  readonly verb: Verb
  readonly tasks: number
  readonly durations: Durations
  /** The mean duration of a task in milliseconds. */
  readonly mean: number
  /** The share of attempts that fail, in percent. */
  readonly failures: number
  readonly onFailure: OnFailure
  readonly maxAtOnce: number
  readonly maxPerSecond: number
  readonly maxBurst: number
  /** At most so many starts in any window of `windowSeconds`. */
  readonly windowLimit: number
  readonly windowSeconds: number
  readonly retries: number
  /** Milliseconds between a failure and its retry. */
  readonly retryDelay: number
  /** The number of lanes, of which the first gets half of the tasks. */
  readonly lanes: number
  /** Every so many calls is urgent. */
  readonly urgent: number
  /** How many calls of `run` arrive per second; 0 is all at once. */
  readonly arrivals: number
  /** How long the reader of `amap` takes for a result, in milliseconds. */
  readonly reader: number
  readonly maxUnread: number
  readonly ordered: boolean
  /** The reader leaves after so many results. */
  readonly leaveAfter: number
  /** The server's own limits. */
  readonly serverAtOnce: number
  readonly serverPerSecond: number
  readonly seed: number
}

export const defaults: Settings = {
  verb: "runAll",
  tasks: 40,
  durations: "random",
  mean: 1800,
  failures: 0,
  onFailure: "stop",
  maxAtOnce: 10,
  maxPerSecond: 5,
  maxBurst: 1,
  windowLimit: 0,
  windowSeconds: 10,
  retries: 0,
  retryDelay: 500,
  lanes: 0,
  urgent: 0,
  arrivals: 0,
  reader: 0,
  maxUnread: 0,
  ordered: false,
  leaveAfter: 0,
  serverAtOnce: 0,
  serverPerSecond: 0,
  seed: 1
}

interface Shared {
  readonly key: keyof Settings
  readonly label: string
  readonly group: "Tasks" | "Limits" | "Failures" | "Queue" | "Reader" | "Server"
  /** Whether the setting has an effect beside the others. */
  readonly applies?: (settings: Settings) => boolean
}

interface Choice extends Shared {
  readonly kind: "choice"
  readonly options: ReadonlyArray<string>
}

interface Amount extends Shared {
  readonly kind: "amount"
  readonly min: number
  readonly max: number
  readonly step: number
  readonly unit?: string
  /** What the value 0 means. */
  readonly zero?: string
}

interface Toggle extends Shared {
  readonly kind: "toggle"
}

export type Control = Choice | Amount | Toggle

const isAmap = ({ verb }: Settings): boolean => verb === "amap"
const isRun = ({ verb }: Settings): boolean => verb === "run"
const canFail = ({ failures, serverAtOnce, serverPerSecond }: Settings): boolean =>
  failures > 0 || serverAtOnce > 0 || serverPerSecond > 0

export const controls: ReadonlyArray<Control> = [
  {
    key: "verb",
    label: "Function",
    group: "Tasks",
    kind: "choice",
    options: ["runAll", "runOnEach", "amap", "runAny", "run"]
  },
  { key: "tasks", label: "Tasks", group: "Tasks", kind: "amount", min: 1, max: 2000, step: 1 },
  {
    key: "durations",
    label: "Durations",
    group: "Tasks",
    kind: "choice",
    options: ["fixed", "random", "heavy tail"]
  },
  { key: "mean", label: "Mean duration", group: "Tasks", kind: "amount", min: 10, max: 20_000, step: 10, unit: "ms" },
  {
    key: "maxAtOnce",
    label: "maxAtOnce",
    group: "Limits",
    kind: "amount",
    min: 0,
    max: 500,
    step: 1,
    zero: "no limit"
  },
  {
    key: "maxPerSecond",
    label: "maxPerSecond",
    group: "Limits",
    kind: "amount",
    min: 0,
    max: 500,
    step: 0.1,
    zero: "no limit"
  },
  {
    key: "maxBurst",
    label: "maxBurst",
    group: "Limits",
    kind: "amount",
    min: 1,
    max: 100,
    step: 1,
    applies: ({ maxPerSecond }) => maxPerSecond > 0
  },
  {
    key: "windowLimit",
    label: "Window: at most",
    group: "Limits",
    kind: "amount",
    min: 0,
    max: 1000,
    step: 1,
    zero: "no window"
  },
  {
    key: "windowSeconds",
    label: "in any",
    group: "Limits",
    kind: "amount",
    min: 1,
    max: 60,
    step: 1,
    unit: "s",
    applies: ({ windowLimit }) => windowLimit > 0
  },
  {
    key: "failures",
    label: "Attempts that fail",
    group: "Failures",
    kind: "amount",
    min: 0,
    max: 90,
    step: 1,
    unit: "%"
  },
  {
    key: "onFailure",
    label: "After a failure",
    group: "Failures",
    kind: "choice",
    options: ["stop", "continue"],
    applies: (settings) => canFail(settings) && settings.verb !== "run" && settings.verb !== "runAny"
  },
  {
    key: "retries",
    label: "Retries",
    group: "Failures",
    kind: "amount",
    min: 0,
    max: 10,
    step: 1,
    zero: "none",
    applies: canFail
  },
  {
    key: "retryDelay",
    label: "Delay of a retry",
    group: "Failures",
    kind: "amount",
    min: 0,
    max: 10_000,
    step: 50,
    unit: "ms",
    applies: (settings) => canFail(settings) && settings.retries > 0
  },
  {
    key: "arrivals",
    label: "Calls per second",
    group: "Queue",
    kind: "amount",
    min: 0,
    max: 500,
    step: 0.5,
    zero: "all at once",
    applies: isRun
  },
  {
    key: "lanes",
    label: "Lanes",
    group: "Queue",
    kind: "amount",
    min: 0,
    max: 5,
    step: 1,
    zero: "none",
    applies: isRun
  },
  {
    key: "urgent",
    label: "Urgent: every",
    group: "Queue",
    kind: "amount",
    min: 0,
    max: 100,
    step: 1,
    zero: "none",
    applies: isRun
  },
  {
    key: "reader",
    label: "Reader takes",
    group: "Reader",
    kind: "amount",
    min: 0,
    max: 10_000,
    step: 50,
    unit: "ms",
    applies: isAmap
  },
  {
    key: "maxUnread",
    label: "maxUnread",
    group: "Reader",
    kind: "amount",
    min: 0,
    max: 500,
    step: 1,
    zero: "default",
    applies: isAmap
  },
  { key: "ordered", label: "In input order", group: "Reader", kind: "toggle", applies: isAmap },
  {
    key: "leaveAfter",
    label: "Leave after",
    group: "Reader",
    kind: "amount",
    min: 0,
    max: 2000,
    step: 1,
    unit: "results",
    zero: "never",
    applies: isAmap
  },
  {
    key: "serverAtOnce",
    label: "Server: at once",
    group: "Server",
    kind: "amount",
    min: 0,
    max: 500,
    step: 1,
    zero: "no limit"
  },
  {
    key: "serverPerSecond",
    label: "Server: per second",
    group: "Server",
    kind: "amount",
    min: 0,
    max: 500,
    step: 1,
    zero: "no limit"
  },
  { key: "seed", label: "Seed", group: "Tasks", kind: "amount", min: 1, max: 9999, step: 1 }
]

export const applies = (control: Control, settings: Settings): boolean => control.applies?.(settings) ?? true

/** The value that a control accepts which is closest to a text, or `undefined`. */
const parse = (control: Control, text: string): string | number | boolean | undefined => {
  switch (control.kind) {
    case "choice":
      return control.options.includes(text) ? text : undefined
    case "toggle":
      return text === "" ? undefined : text === "true"
    case "amount": {
      const value = Number(text)
      if (text.trim() === "" || !Number.isFinite(value)) return undefined
      // Whole steps, without the error of the division.
      const whole = Number((Math.round(value / control.step) * control.step).toFixed(3))
      return Math.min(control.max, Math.max(control.min, whole))
    }
  }
}

/** The settings with one of them changed, or the same settings if the text is no value of this control. */
export const withText = (settings: Settings, control: Control, text: string): Settings => {
  const value = parse(control, text)
  return value === undefined || value === settings[control.key] ? settings : { ...settings, [control.key]: value }
}

/** The settings that differ from the defaults, as a query string without its question mark. */
export const toQuery = (settings: Settings): string => {
  const query = new URLSearchParams()
  for (const { key } of controls) {
    if (settings[key] !== defaults[key]) query.set(key, String(settings[key]))
  }
  return query.toString()
}

export const fromQuery = (query: string, from: Settings = defaults): Settings => {
  const parameters = new URLSearchParams(query)
  return controls.reduce((settings, control) => withText(settings, control, parameters.get(control.key) ?? ""), from)
}
