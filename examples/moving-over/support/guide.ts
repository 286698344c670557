/**
 * Generates the parts of `docs/moving-over.md` that come from this folder's test files: imports, rows and claims.
 *
 * They are extracted from the source text. Running the files as tests shows that they are true. Each part of the guide is
 * between two comments, for example `<!-- p-map: calls -->` and `<!-- end -->`. `write.ts` writes the parts, and
 * `guide.test.ts` fails if the guide shows anything else.
 */
import { readFileSync } from "node:fs"
import { type ESTree, parseSync } from "vite"

/** The sections of the guide, in order: their test files, and the names of the two sides. */
export const sections = [
  { name: "p-map", theirs: "p-map", ours: "@fibermeter/promise" },
  { name: "p-limit", theirs: "p-limit", ours: "@fibermeter/promise" },
  { name: "p-queue", theirs: "p-queue", ours: "@fibermeter/promise" },
  { name: "p-throttle", theirs: "p-throttle", ours: "@fibermeter/promise" },
  { name: "bottleneck", theirs: "bottleneck", ours: "@fibermeter/promise" },
  { name: "promise-pool", theirs: "promise-pool", ours: "@fibermeter/promise" },
  { name: "aiometer", theirs: "aiometer", ours: "@fibermeter/promise" },
  { name: "effect", theirs: "Effect", ours: "fibermeter" }
] as const

type Section = (typeof sections)[number]

export const guide = new URL("../../../docs/moving-over.md", import.meta.url)

/** A generated part of the guide: the comment that opens it, and the lines below. */
export interface Part {
  readonly opening: string
  readonly lines: ReadonlyArray<string>
}

/** All generated parts of the guide, in order. */
export const parts = (): Array<Part> => sections.flatMap((section) => partsOf(section))

const partsOf = ({ name, ours, theirs }: Section): Array<Part> => {
  const file = new Source(new URL(`../${name}.test.ts`, import.meta.url))
  const calls = file.rows("call")
  const rows = calls.filter((row) => !isLong(row)).map((row) => [row.about, code(row.theirs), code(row.ours)])
  const pairs = calls
    .filter(isLong)
    .flatMap((row) => [
      "",
      `**${row.about[0]!.toUpperCase()}${row.about.slice(1)}**`,
      "",
      ...fence([`// ${theirs}`, ...row.theirs, "", `// ${ours}`, ...row.ours])
    ])
  const claims = file.rows("differs").map((row) => [row.about, row.theirs.join(" "), row.ours.join(" ")])
  const shown = [...table(["To", theirs, ours], rows), ...pairs]
  return [
    { opening: `<!-- ${name}: calls -->`, lines: [...fence(file.imports(shown.join("\n"))), "", ...shown] },
    { opening: `<!-- ${name}: differences -->`, lines: table(["", theirs, ours], claims) }
  ]
}

const fence = (lines: ReadonlyArray<string>): Array<string> => ["```js", ...lines, "```"]

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): Array<string> =>
  [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`)

const isLong = ({ ours, theirs }: Row): boolean => theirs.length > 1 || ours.length > 1

const code = (lines: ReadonlyArray<string>): string => {
  const line = lines.join("")
  if (line.includes("`")) throw new Error(`this would end the code that it stands in: ${line}`)
  return `\`${line.replaceAll("|", String.raw`\|`)}\``
}

interface Row {
  readonly about: string
  readonly theirs: ReadonlyArray<string>
  readonly ours: ReadonlyArray<string>
}

/** The source text of a test file. */
class Source {
  private readonly text: string
  private readonly statements: ReadonlyArray<ESTree.Program["body"][number]>

  constructor(file: URL) {
    this.text = readFileSync(file, "utf8")
    const { errors, program } = parseSync(file.pathname, this.text, { lang: "ts", sourceType: "module" })
    if (errors.length > 0) throw new Error(`${file.pathname}: ${errors[0]!.message}`)
    this.statements = program.body
  }

  /** The imports from packages that `text` uses. */
  imports(text: string): Array<string> {
    return this.statements.flatMap((statement) => {
      if (statement.type !== "ImportDeclaration" || statement.source.value.startsWith(".")) return []
      const used = statement.specifiers.filter(({ local }) => new RegExp(`\\b${local.name}\\b`).test(text))
      const named = used.filter(({ type }) => type === "ImportSpecifier").map(({ local }) => local.name)
      const names = [
        ...used.filter(({ type }) => type === "ImportDefaultSpecifier").map(({ local }) => local.name),
        ...(named.length > 0 ? [`{ ${named.join(", ")} }`] : [])
      ]
      return names.length > 0 ? [`import ${names.join(", ")} from "${statement.source.value}"`] : []
    })
  }

  /** The calls of a function of `rows.ts` at the top level of the file. */
  rows(name: "call" | "differs"): Array<Row> {
    return this.statements.flatMap((statement) => {
      if (statement.type !== "ExpressionStatement" || statement.expression.type !== "CallExpression") return []
      const { arguments: args, callee } = statement.expression
      if (callee.type !== "Identifier" || callee.name !== name) return []
      const [about, sides] = args
      if (about?.type !== "Literal" || sides?.type !== "ObjectExpression") throw this.unclear(statement)
      return [{ about: String(about.value), theirs: this.side(sides, "theirs"), ours: this.side(sides, "ours") }]
    })
  }

  private side(sides: ESTree.ObjectExpression, name: "theirs" | "ours"): Array<string> {
    const property = sides.properties.find(
      (property) => property.type === "Property" && property.key.type === "Identifier" && property.key.name === name
    )
    if (property?.type !== "Property") throw this.unclear(sides)
    const { value } = property
    // A string: code in another language, or the words of a claim. An array: the words of a claim, then its test.
    if (value.type === "Literal") return String(value.value).split("\n")
    if (value.type === "ArrayExpression" && value.elements[0]?.type === "Literal") {
      return [String(value.elements[0].value)]
    }
    if (value.type !== "ArrowFunctionExpression") throw this.unclear(sides)
    if (value.body.type !== "BlockStatement") return this.linesOf(value.body)
    const shown = value.body.body.filter((statement) => statement.type !== "ReturnStatement")
    if (shown.length < value.body.body.length - 1) throw this.unclear(sides)
    return this.linesOf({ start: shown[0]!.start, end: shown.at(-1)!.end })
  }

  /** The lines of a node, without the indentation of its first line. */
  private linesOf({ end, start }: { readonly start: number; readonly end: number }): Array<string> {
    const indent = /[ ]*$/.exec(this.text.slice(0, start).split("\n").at(-1)!)![0]
    return this.text
      .slice(start, end)
      .split("\n")
      .map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line))
  }

  private unclear({ start }: { readonly start: number }): Error {
    return new Error(`line ${this.text.slice(0, start).split("\n").length}: the guide cannot show this`)
  }
}

/** The guide with its generated parts replaced. */
export const updated = (text: string): string =>
  parts().reduce((text, { lines, opening }) => {
    const start = text.indexOf(opening)
    const end = text.indexOf(closing, start)
    if (start < 0 || end < 0) throw new Error(`the guide has no part ${opening}`)
    return `${text.slice(0, start)}${opening}\n\n${lines.join("\n")}\n\n${text.slice(end)}`
  }, text)

const closing = "<!-- end -->"

/** A text without what the formatter changes: the width of table cells. */
export const bare = (text: string): string =>
  text
    .split("\n")
    .map((line) => (line.startsWith("|") ? line.replaceAll(/ +/g, " ").replaceAll(/-+/g, "-") : line))
    .join("\n")
