/**
 * Every `ts` fence of the READMEs, of the `docs` folders and of the packages' doc comments is a program that runs.
 *
 * `extract` writes each fence to `.doc-examples/`, on the lines that it has in its document, so that the type checker
 * and stack traces point at the right place. `docExamples` is the Vitest plugin that turns such a file into a test:
 *
 * - `expression // => value` asserts that the two are deeply equal (also after `const name = …`)
 * - `console.log(a, b) // => 1, 2` asserts what would have been logged
 * - a fence marked `ts no-run` is type-checked only
 * - a fence marked `ts continues` is part of the same module as the `ts` fence before it
 *
 * Each other fence is a module of its own. An assertion that is never reached fails the example, and so does a `// =>` that
 * follows anything else: neither may pass for a check.
 */
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { basename, dirname, join, relative } from "node:path"
import { type ESTree, parseSync, type Plugin, Visitor } from "vite"

export const folder = ".doc-examples"
export const documents = [
  "README.md",
  "packages/*/README.md",
  "packages/*/AGENTS.md",
  "docs/**/*.md",
  "packages/*/docs/**/*.md",
  "site/pages/**/*.md",
  "packages/*/src/**/*.ts"
]

export interface Example {
  /** The first line of the fence's content, counted from 1. */
  readonly line: number
  readonly run: boolean
  /** The content, below as many empty lines as it has lines above it in its document. */
  readonly code: string
}

/** The doc comments of a module as a Markdown document; everything else becomes empty lines. */
const docComments = (source: string): string =>
  source.replace(/\/\*\*([\s\S]*?)\*\/|[^\n]/g, (_, text: string | undefined) =>
    text === undefined ? "" : text.replace(/^[ \t]*\* ?/gm, "")
  )

export const findExamples = (path: string, source: string): Array<Example> => {
  const examples: Array<Example> = []
  const lines = (path.endsWith(".md") ? source : docComments(source)).split("\n")
  for (let i = 0; i < lines.length; i++) {
    const open = /^(\s*)(`{3,}|~{3,})\s*(\S*)(.*)$/.exec(lines[i]!)
    if (!open) continue
    const [, indent = "", fence = "", language = "", flags = ""] = open
    const first = i + 1
    while (++i < lines.length && lines[i]!.trim() !== fence) {}
    if (i === lines.length) throw new Error(`${path}:${first}: this fence is never closed`)
    if (language !== "ts" && language !== "typescript") continue
    const body = lines.slice(first, i).map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line))
    if (/\bcontinues\b/.test(flags)) {
      const before = examples.pop()
      if (before === undefined) throw new Error(`${path}:${first}: there is no fence that this one continues`)
      const above = before.code + "\n".repeat(first - (before.code.split("\n").length - 1))
      examples.push({ ...before, code: above + body.join("\n") + "\n" })
      continue
    }
    const code = "\n".repeat(first) + body.join("\n") + "\n"
    examples.push({ line: first + 1, run: !/\bno-run\b/.test(flags), code })
  }
  return examples
}

/** Writes every example below `root`, and returns how many there are. */
export const extract = (root: string): number => {
  const target = join(root, folder)
  const files = new Map<string, string>()
  for (const path of globSync(documents, { cwd: root, exclude: (name) => name === "node_modules" })) {
    for (const example of findExamples(path, readFileSync(join(root, path), "utf8"))) {
      files.set(join(target, path, `${example.line}${example.run ? "" : ".no-run"}.ts`), example.code)
    }
  }
  // Only changed files are written: a type check of the same files may be running.
  for (const path of globSync("**/*.ts", { cwd: target })) {
    if (!files.has(join(target, path))) rmSync(join(target, path), { force: true, recursive: true })
  }
  for (const [path, code] of files) {
    mkdirSync(dirname(path), { recursive: true })
    if (read(path) !== code) writeFileSync(path, code)
  }
  return files.size
}

const read = (path: string): string | undefined => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return undefined
  }
}

/** Replaces every statement that ends in `// => value` by an assertion, without moving a line. */
export const addAssertions = (path: string, code: string): string => {
  const { program, comments, errors } = parseSync(path, code, { lang: "ts", sourceType: "module" })
  if (errors.length > 0) throw new Error(`${path}: ${errors.map((error) => error.message).join("; ")}`)

  const statements: Array<ESTree.ExpressionStatement | ESTree.VariableDeclaration> = []
  new Visitor({
    ExpressionStatement: (node) => void statements.push(node),
    VariableDeclaration: (node) => void statements.push(node)
  }).visit(program)

  // Only the two ends of a statement are touched: there may be another such statement inside it.
  const edits: Array<{ readonly from: number; readonly to: number; readonly text: string }> = []
  let count = 0
  for (const comment of comments) {
    const value = /^\s*=>(.*)$/s.exec(comment.value)?.[1]
    if (value === undefined) continue
    const where = `${path}:${code.slice(0, comment.start).split("\n").length}`
    const statement = statements.find(
      ({ end }) => end <= comment.start && /^[ \t;]*$/.test(code.slice(end, comment.start))
    )
    const call = `__equal(${count++}, ${JSON.stringify(where)}, `
    if (statement?.type === "ExpressionStatement") {
      const { start, end } = statement.expression
      const log = "console.log("
      if (code.startsWith(log, start)) {
        edits.push({ from: start, to: start + log.length, text: `${call}[` })
        edits.push({ from: end - 1, to: end, text: `], [${value}])` })
      } else {
        edits.push({ from: start, to: start, text: `${call}(` })
        edits.push({ from: end, to: end, text: `), (${value}))` })
      }
    } else if (statement?.declarations.length === 1 && statement.declarations[0]!.id.type === "Identifier") {
      const { end } = statement
      edits.push({ from: end, to: end, text: `; ${call}${statement.declarations[0]!.id.name}, (${value}))` })
    } else {
      throw new Error(`${where}: "// =>" has to follow an expression or the declaration of one name`)
    }
  }
  let result = code
  for (const { from, to, text } of edits.toSorted((a, b) => b.from - a.from)) {
    result = result.slice(0, from) + text + result.slice(to)
  }

  const { errors: wrong } = parseSync(path, result, { lang: "ts", sourceType: "module" })
  if (wrong.length > 0) {
    throw new Error(`${path}: what follows "// =>" is no expression: ${wrong.map((error) => error.message).join("; ")}`)
  }
  return count === 0 ? result : `const { __equal, __done } = __assertions(${count}); ${result}\n; __done()`
}

export const docExamples = (root: string): Plugin => {
  const asserting = `import { assertions as __assertions } from ${JSON.stringify(join(root, "scripts/doc-assertions.ts"))}; `
  return {
    name: "doc-examples",
    enforce: "pre",
    config: () => void extract(root),
    transform(code, id) {
      const [path, query] = id.split("?") as [string, string | undefined]
      if (!path.startsWith(join(root, folder))) return
      const document = dirname(relative(join(root, folder), path))
      if (query === "example") return { code: asserting + addAssertions(document, code), map: null }
      const name = `${document}:${basename(path, ".ts")}`
      return {
        code:
          `import { test } from "vitest"\n` +
          `test(${JSON.stringify(name)}, () => import(${JSON.stringify(`${path}?example`)}))`,
        map: null
      }
    }
  }
}
