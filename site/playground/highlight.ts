/** Splits a program into what is coloured differently: enough for the programs that `code.ts` writes. */

export interface Token {
  readonly kind: "comment" | "string" | "keyword" | "number" | "plain"
  readonly text: string
}

const pattern =
  /(?<comment>\/\/.*)|(?<string>"[^"]*"|`[^`]*`)|(?<keyword>\b(?:import|from|const|let|await|async|for|of|if|return|new|class|extends|function|yield|try|finally|throw|break)\b)|(?<number>\b(?:0x)?\d[\d.a-f]*\b)/g

export const tokensOf = (program: string): ReadonlyArray<Token> => {
  const tokens: Array<Token> = []
  let end = 0
  for (const match of program.matchAll(pattern)) {
    if (match.index > end) tokens.push({ kind: "plain", text: program.slice(end, match.index) })
    const kind = Object.entries(match.groups!).find(([, text]) => text !== undefined)![0] as Token["kind"]
    tokens.push({ kind, text: match[0] })
    end = match.index + match[0].length
  }
  if (end < program.length) tokens.push({ kind: "plain", text: program.slice(end) })
  return tokens
}
