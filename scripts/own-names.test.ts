import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, it } from "vitest"
import { ownNames } from "./own-names.ts"

const folder = mkdtempSync(join(tmpdir(), "own-names-"))

afterAll(() => rmSync(folder, { recursive: true }))

const namesIn = (code: string): ReadonlyArray<string> => {
  const file = join(folder, "module.ts")
  writeFileSync(file, `export {}\n${code}`)
  return Array.from(ownNames(folder, file))
}

it.for([
  ["a member of a class", "class A { phase = 1 }; new A().phase", ["phase"]],
  ["a parameter that is one", "class A { constructor(readonly phase: 1) {} }; new A(1).phase", ["phase"]],
  ["destructured", "class A { phase = 1 }; const { phase } = new A()", ["phase"]],
  ["a key of a literal", "const a = { phase: 1 }; a.phase", ["phase"]],
  [
    "of an asserted interface that a class implements",
    "interface A { phase: 1 }; class B implements A { phase = 1 as const }; (a: unknown) => (a as A).phase",
    ["phase"]
  ],
  [
    "of one that such an interface extends",
    "interface A { phase: 1 }; interface B extends A {}; class C implements B { phase = 1 as const }; (a: unknown) => (a as A).phase",
    ["phase"]
  ],
  [
    "of an interface that nothing is asserted to have",
    "interface A { phase: 1 }; const a: A = { phase: 1 }; a.phase",
    ["phase"]
  ],
  ["through a type that is derived", "class A { phase = 1 }; (a: Readonly<Pick<A, 'phase'>>) => a.phase", ["phase"]]
] as const)("own: %s", ([, code, names]) => {
  expect(namesIn(code)).toEqual(names)
})

it.for([
  ["of the platform", "class A { body = 1 }; new A().body; (a: Response) => a.body"],
  ["of the platform, destructured", "class A { body = 1 }; new A().body; ({ body }: Response) => body"],
  ["of the platform, in a literal", "class A { body = 1 }; new A().body; const a: RequestInit = { body: '' }"],
  [
    "of an asserted interface",
    "interface A { phase: 1 }; class B { phase = 1 as const }; (a: unknown) => (a as A).phase"
  ],
  ["of an asserted literal type", "class A { phase = 1 }; new A().phase; (a: unknown) => (a as { phase: 1 }).phase"],
  [
    "of a tested interface",
    "interface A { phase: 1 }; const is = (a: unknown): a is A => true; (a: unknown) => is(a) && a.phase"
  ],
  [
    "of one that it mentions",
    "interface A { phase: 1 }; type B = { of: { get: () => A } }; (a: unknown) => (a as B).of.get().phase"
  ],
  ["of a value of any type", "class A { phase = 1 }; new A().phase; (a: any) => a.phase"],
  ["in a literal of any type", "class A { phase = 1 }; new A().phase; const a: any = { phase: 1 }"],
  ["of a record", "class A { phase = 1 }; new A().phase; (a: Record<string, 1>) => a.phase"],
  ["of one or the other", "class A { body = 1 }; (a: A | Response) => a.body"]
] as const)("not own: %s", ([, code]) => {
  expect(namesIn(code)).toEqual([])
})
