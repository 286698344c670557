/**
 * Writes the pages of the site to `.pages`, from where the generator takes them: the pages of this folder, the documentation
 * of the packages, the example programs and the reference of all packages. The documentation stays where it is, and is
 * copied with its links led to the pages of the site.
 */
import { spawnSync } from "node:child_process"
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { basename, dirname, join, posix, relative } from "node:path"

const site = import.meta.dirname
const root = join(site, "..")
const target = join(site, ".pages")

/** The folders of a page's source and of the page, by their beginnings. The first that fits counts. */
const places: ReadonlyArray<readonly [source: string, page: string]> = [
  ["packages/promise/docs/testing-your-code.md", "testing-your-code.md"],
  ["packages/fibermeter/docs/how-it-works.md", "how-it-works.md"],
  ["packages/promise/docs/", "promise/"],
  ["packages/fibermeter/docs/", "effect/"],
  ["packages/redis/README.md", "redis/index.md"],
  ["packages/redis/docs/", "redis/"],
  ["docs/", ""],
  ["bench/results.md", "benchmarks.md"]
]

/** Folders of examples that a page shows by itself. */
const shownElsewhere = ["aiometer", "moving-over", "demo", "testing"]

const sources = globSync(["packages/*/docs/**/*.md", "packages/redis/README.md", "docs/*.md", "bench/results.md"], {
  cwd: root
}).toSorted()

/** The page of a file of the repository, if it has one. */
const pageOf = (source: string): string | undefined => {
  if (source.startsWith("examples/")) {
    const [, folder = ""] = source.split("/")
    if (existsSync(join(root, "examples", folder)) && !shownElsewhere.includes(folder)) return `recipes/${folder}.md`
    return undefined
  }
  if (!sources.includes(source)) return undefined
  const place = places.find(([prefix]) => source.startsWith(prefix))!
  return place[1].endsWith(".md") ? place[1] : place[1] + source.slice(place[0].length)
}

const write = (page: string, text: string): void => {
  const file = join(target, page)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}

/** Leads a link to the page of its file. What the site does not have loses its link and keeps its text. */
const leadLinks = (source: string, page: string, text: string): string =>
  text.replaceAll(/(!?)\[([^\]]*)\]\(([^)\s]+)\)/g, (all, image: string, label: string, link: string) => {
    if (/^(https?:|#|mailto:)/.test(link)) return all
    const [path = "", fragment] = link.split("#")
    const linked = posix.join(posix.dirname(source), path)
    const hash = fragment === undefined ? "" : `#${fragment}`
    if (image === "!") {
      if (!existsSync(join(root, linked))) throw new Error(`${source}: there is no ${linked}`)
      const name = `pictures/${linked.replaceAll("/", "-")}`
      mkdirSync(join(target, "public/pictures"), { recursive: true })
      cpSync(join(root, linked), join(target, "public", name))
      return `![${label}](/${name})`
    }
    const there = pageOf(linked)
    if (there === undefined) {
      if (!existsSync(join(root, linked))) throw new Error(`${source}: there is no ${linked}`)
      return label
    }
    const way = posix.relative(posix.dirname(page), there)
    return `[${label}](${way.startsWith(".") ? way : `./${way}`}${hash})`
  })

const copyDocumentation = (): void => {
  for (const source of sources) {
    const page = pageOf(source)!
    write(page, leadLinks(source, page, readFileSync(join(root, source), "utf8")))
  }
}

/** The comment at the head of a program, as text, and the program without it. */
const splitHeader = (program: string): { readonly header: string; readonly code: string } => {
  const [all = "", header = ""] = /^\/\*\*([\s\S]*?)\*\/\s*/.exec(program) ?? []
  const text = header.replaceAll(/^[ \t]*\*? ?/gm, "").trim()
  return { header: text, code: program.slice(all.length).trim() }
}

const titleOf = (name: string): string =>
  (name.charAt(0).toUpperCase() + name.slice(1)).replaceAll("-", " ").replace(/^Ai /, "AI ")

const copyExamples = (): ReadonlyArray<string> => {
  const folders = globSync("examples/*", { cwd: root })
    .filter((path) => statSync(join(root, path)).isDirectory())
    .map((path) => basename(path))
    .filter((folder) => folder !== "node_modules" && !shownElsewhere.includes(folder))
    .toSorted()
  for (const folder of folders) {
    const files = globSync(`examples/${folder}/**/*.ts`, { cwd: root, exclude: (name) => name === "node_modules" })
      .filter((file) => !file.endsWith(".test.ts") && !file.includes("/support/"))
      .toSorted()
    const parts = files.map((file) => {
      const { code, header } = splitHeader(readFileSync(join(root, file), "utf8"))
      const name = relative(join("examples", folder), file).replaceAll("\\", "/")
      return `## ${titleOf(name.replace(/\.ts$/, ""))}\n\n${header}\n\n\`\`\`ts [${name}]\n${code}\n\`\`\`\n`
    })
    write(`recipes/${folder}.md`, `# ${titleOf(folder)}\n\n${parts.join("\n")}`)
  }
  return folders
}

/** The reference of a package, by TypeDoc, whose compiler is that of this folder. */
const writeReference = (name: string, folder: string): void => {
  const { status } = spawnSync(
    join(site, "node_modules/.bin/typedoc"),
    [
      // As files: by their names, TypeDoc would look for them among its own dependencies.
      "--plugin",
      fileURLToPath(import.meta.resolve("typedoc-plugin-markdown")),
      "--plugin",
      fileURLToPath(import.meta.resolve("typedoc-vitepress-theme")),
      "--docsRoot",
      target,
      "--out",
      join(target, "api", folder),
      "--tsconfig",
      join(site, "tsconfig.api.json"),
      "--name",
      name,
      "--readme",
      "none",
      "--disableSources",
      "--skipErrorChecking",
      "--hideBreadcrumbs",
      "--hidePageHeader",
      "--excludeInternal",
      "--excludeTags",
      "@since",
      "--logLevel",
      "Error",
      join(root, "packages", folder, "src/index.ts")
    ],
    { cwd: site, stdio: "inherit" }
  )
  if (status !== 0) throw new Error(`TypeDoc has failed for ${name}`)
}

const packages = [
  { name: "@fibermeter/promise", folder: "promise" },
  { name: "fibermeter", folder: "fibermeter" },
  { name: "@fibermeter/redis", folder: "redis" }
] as const

/** Puts what modules say of themselves into the pages that ask for it. */
const insertHeaders = (page: string): void =>
  write(
    page,
    readFileSync(join(target, page), "utf8").replaceAll(/<!-- header of (\S+) -->/g, (_, source: string) => {
      const { header } = splitHeader(readFileSync(join(root, source), "utf8"))
      if (header === "") throw new Error(`${source} has no header`)
      return `${header}\n\n<small>From \`${source}\`</small>`
    })
  )

rmSync(target, { recursive: true, force: true })
cpSync(join(site, "pages"), target, { recursive: true })
insertHeaders("engine.md")
copyDocumentation()
const recipes = copyExamples()
for (const { folder, name } of packages) writeReference(name, folder)
const heading = (page: string): string => /^# (.*)$/m.exec(readFileSync(join(target, page), "utf8"))?.[1] ?? page

/**
 * Texts for agents: the sources of the pages beside them, a list of these, and all in one file. Addresses are relative to
 * where the site is served.
 */
const writeTexts = (): void => {
  const pages = globSync("**/*.md", { cwd: target, exclude: (name) => name === "api" || name === "public" }).toSorted()
  const agents = packages.flatMap(({ folder, name }) => {
    const file = join(root, "packages", folder, "AGENTS.md")
    if (!existsSync(file)) return []
    // The links of a package are those of its folder.
    const text = leadLinks(`packages/${folder}/AGENTS.md`, `${folder}.md`, readFileSync(file, "utf8"))
    return [{ address: `agents/${folder}.md`, title: `${name}: what to import, recipes, usual mistakes`, text }]
  })
  const documents = pages
    .filter((page) => page !== "index.md" && page !== "playground.md")
    .map((page) => {
      const text = readFileSync(join(target, page), "utf8").replaceAll(
        /<\/?(?:Flavours|template|Playground)[^>]*>\n*/g,
        ""
      )
      return { address: page, title: heading(page), text }
    })
  for (const { address, text } of [...agents, ...documents]) write(`public/${address}`, text)
  const base = process.env["SITE_BASE"] ?? "/"
  const list = (all: ReadonlyArray<{ readonly address: string; readonly title: string }>): string =>
    all.map(({ address, title }) => `- [${title}](${base}${address})`).join("\n")
  const isGuide = ({ address }: { readonly address: string }): boolean => !address.startsWith("recipes/")
  const summary =
    "> Run many async tasks with limits on how many run at once and how many start per second, with real cancellation. " +
    "`@fibermeter/promise` is for ordinary async code, and `fibermeter` for programs written with Effect."
  write(
    "public/llms.txt",
    `# fibermeter\n\n${summary}\n\n## Start here\n\n${list(agents)}\n\n## Guides\n\n${list(documents.filter(isGuide))}\n\n## Examples\n\n${list(documents.filter((each) => !isGuide(each)))}\n\n## Optional\n\n- [All of these in one file](${base}llms-full.txt)\n`
  )
  write(
    "public/llms-full.txt",
    `# fibermeter\n\n${summary}\n\n${[...agents, ...documents].map(({ address, text }) => `<!-- ${base}${address} -->\n\n${text.trim()}`).join("\n\n")}\n`
  )
}

/** What the navigation lists beside the pages of this folder. */
writeFileSync(
  join(target, "contents.json"),
  JSON.stringify({
    recipes: recipes.map((folder) => ({ text: titleOf(folder), link: `/recipes/${folder}` })),
    guides: sources.map((source) => {
      const page = pageOf(source)!
      return { text: heading(page), link: `/${page.replace(/(?:index)?\.md$/, "")}`, source }
    })
  })
)

writeTexts()
