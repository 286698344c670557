/**
 * Finds the mutants of a source, and where its blocks begin.
 *
 * A mutant replaces one range of the text. Types and string literals are not mutated.
 */
import { createHash } from "node:crypto"
import ts from "typescript-5.9"

export interface Mutant {
  /** The source, relative to the root. */
  readonly file: string
  readonly line: number
  readonly start: number
  readonly end: number
  readonly text: string
  readonly replacement: string
  /** The innermost block that contains it: an index into the blocks of the file. */
  readonly block: number
}

export interface Source {
  readonly mutants: ReadonlyArray<Mutant>
  /** The offset of the first statement of each block. The first block is the module. */
  readonly blocks: ReadonlyArray<number>
}

/** What replaces an operator. */
const replacements: Readonly<Record<string, string>> = {
  "<": "<=",
  "<=": "<",
  ">": ">=",
  ">=": ">",
  "===": "!==",
  "!==": "===",
  "==": "!=",
  "!=": "==",
  "+": "-",
  "-": "+",
  "*": "/",
  "/": "*",
  "%": "*",
  "+=": "-=",
  "-=": "+=",
  "&&": "||",
  "||": "&&",
  "??": "&&"
}

const isString = (node: ts.Node): boolean =>
  ts.isStringLiteralLike(node) ||
  ts.isTemplateExpression(node) ||
  (ts.isParenthesizedExpression(node) && isString(node.expression)) ||
  (ts.isConditionalExpression(node) && isString(node.whenTrue)) ||
  (ts.isBinaryExpression(node) && (isString(node.left) || isString(node.right)))

const isSuperCall = (node: ts.Expression): boolean =>
  ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.SuperKeyword

export function parse(file: string, code: string): Source {
  const tree = ts.createSourceFile(file, code, ts.ScriptTarget.Latest, true)
  const mutants: Array<Mutant> = []
  const blocks = [0]

  const visit = (node: ts.Node, block: number): void => {
    if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return

    const add = (start: number, end: number, replacement: string): void => {
      const { line } = tree.getLineAndCharacterOfPosition(start)
      mutants.push({ file, line: line + 1, start, end, text: code.slice(start, end), replacement, block })
    }
    const replace = (target: ts.Node, replacement: string): void =>
      add(target.getStart(tree), target.getEnd(), replacement)
    const negate = (condition: ts.Expression): void => {
      // Other mutants negate these already.
      const { kind } = ts.isBinaryExpression(condition) ? condition.operatorToken : condition
      if (kind === ts.SyntaxKind.TrueKeyword || ts.isPrefixUnaryExpression(condition)) return
      if (ts.tokenToString(kind)?.includes("==") !== true) replace(condition, `!(${condition.getText(tree)})`)
    }

    if (ts.isBinaryExpression(node)) {
      const { operatorToken: token } = node
      const other = replacements[ts.tokenToString(token.kind) ?? ""]
      if (other !== undefined && !(token.getText(tree).startsWith("+") && isString(node))) replace(token, other)
    } else if (ts.isPrefixUnaryExpression(node) || ts.isPostfixUnaryExpression(node)) {
      const { operand, operator } = node
      if (operator === ts.SyntaxKind.PlusPlusToken || operator === ts.SyntaxKind.MinusMinusToken) {
        const other = operator === ts.SyntaxKind.PlusPlusToken ? "--" : "++"
        const text = operand.getText(tree)
        replace(node, ts.isPrefixUnaryExpression(node) ? `${other}${text}` : `${text}${other}`)
      } else if (operator !== ts.SyntaxKind.PlusToken) replace(node, operand.getText(tree))
    } else if (node.kind === ts.SyntaxKind.TrueKeyword) replace(node, "false")
    else if (node.kind === ts.SyntaxKind.FalseKeyword) replace(node, "true")
    else if (ts.isNumericLiteral(node)) replace(node, node.text === "0" ? "1" : `(${node.getText(tree)} + 1)`)
    else if (ts.isPropertyAccessExpression(node) && /^Math\.(?:min|max)$/.test(node.getText(tree))) {
      replace(node.name, node.name.text === "min" ? "max" : "min")
    } else if (ts.isIfStatement(node) || ts.isWhileStatement(node) || ts.isDoStatement(node)) negate(node.expression)
    else if (ts.isConditionalExpression(node)) negate(node.condition)
    else if (ts.isForStatement(node) && node.condition !== undefined) negate(node.condition)
    else if (ts.isExpressionStatement(node) && !isSuperCall(node.expression)) replace(node, ";")
    else if (ts.isThrowStatement(node) || ts.isBreakStatement(node) || ts.isContinueStatement(node)) replace(node, ";")
    else if (ts.isArrowFunction(node) && ts.isCallExpression(node.body)) replace(node.body, "undefined")

    let inner = block
    if (ts.isBlock(node)) {
      inner = blocks.length
      blocks.push(node.getStart(tree) + 1)
    }
    ts.forEachChild(node, (child) => visit(child, inner))
  }
  visit(tree, 0)
  return { mutants, blocks }
}

/** Applies a mutant to the code of its file. */
export const mutate = (code: string, { start, end, replacement }: Mutant): string =>
  code.slice(0, start) + replacement + code.slice(end)

/**
 * Samples mutants. The sample depends on the seed and on the mutated lines, but neither on the names of files nor on
 * other lines. So the sample stays the same when code moves to other files.
 */
export function sample(
  mutants: ReadonlyArray<Mutant>,
  sources: ReadonlyMap<string, string>,
  seed: string,
  count: number
): ReadonlyArray<Mutant> {
  const occurrences = new Map<string, number>()
  const ranked = mutants.map((mutant) => {
    const line = sources.get(mutant.file)!.split("\n")[mutant.line - 1]!.trim()
    const key = JSON.stringify([line, mutant.text, mutant.replacement])
    const ordinal = occurrences.get(key) ?? 0
    occurrences.set(key, ordinal + 1)
    return { mutant, rank: createHash("sha256").update(`${seed} ${key} ${ordinal}`).digest("hex") }
  })
  return ranked
    .toSorted((a, b) => (a.rank < b.rank ? -1 : 1))
    .slice(0, count)
    .map(({ mutant }) => mutant)
}
