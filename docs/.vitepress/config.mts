import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig, type DefaultTheme, type MarkdownRenderer } from 'vitepress'

const docs = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const repository = 'https://github.com/ovnkube/ovnkube'

interface Section { title: string; pages: string[]; folder?: string; collapsed?: boolean }

function title(page: string): string {
  const heading = readFileSync(resolve(docs, page), 'utf8').match(/^# (.+)$/m)
  return heading ? heading[1].replaceAll('`', '') : page
}

function address(page: string): string {
  return '/' + page.replace(/README\.md$/, '').replace(/\.md$/, '')
}

// What is in a section's folder and not named comes last, so that a new page is never out of reach.
function sidebar(): DefaultTheme.SidebarItem[] {
  const sections: Section[] = JSON.parse(readFileSync(resolve(docs, '.vitepress/nav.json'), 'utf8'))
  return sections.map(s => {
    const pages = s.pages.filter(p => existsSync(resolve(docs, p)))
    if (s.folder && existsSync(resolve(docs, s.folder))) {
      const others = readdirSync(resolve(docs, s.folder)).filter(f => f.endsWith('.md')).map(f => `${s.folder}/${f}`)
      pages.push(...others.filter(p => !pages.includes(p)).sort())
    }
    return { text: s.title, collapsed: s.collapsed ?? false, items: pages.map(p => ({ text: title(p), link: address(p) })) }
  })
}

// Anchors are GitHub's, so that a link works in both places. test/docs checks links by the same rule.
function slug(heading: string): string {
  return heading.trim().toLowerCase().replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, '').replaceAll(' ', '-')
}

// Our drawings become part of the page, where the site's own colours reach them; plots stay files of their own, black on white. A
// README.md is its folder's page, and what is not documentation is read in the repository.
function links(md: MarkdownRenderer): void {
  const image = md.renderer.rules.image!
  md.renderer.rules.image = (tokens, i, options, env, self) => {
    const source = tokens[i].attrGet('src') ?? ''
    if (!source.endsWith('.svg') || source.includes(':')) return image(tokens, i, options, env, self)
    const svg = readFileSync(resolve(dirname(env.path), source), 'utf8')
    if (!svg.includes('class="drawing"')) return image(tokens, i, options, env, self)
    return `<span class="picture" v-pre>${svg.replace(/<style>[^]*?<\/style>/, '')}</span>`
  }
  md.renderer.rules.code_block = (tokens, i, options, env, self) => {
    tokens[i].info = 'text' // indented: shown like a fenced one
    return md.renderer.rules.fence!(tokens, i, options, env, self)
  }
  md.core.ruler.push('repository-links', state => {
    for (const token of state.tokens.flatMap(t => t.children ?? [])) {
      const href = token.type === 'link_open' ? token.attrGet('href') ?? '' : ''
      if (href === '' || href.startsWith('#') || href.includes(':')) continue
      const [path, anchor] = href.split('#')
      const target = resolve(dirname(state.env.path), path)
      const inside = relative(docs, target)
      const end = anchor ? '#' + anchor : ''
      if (inside.startsWith('..') || !inside.endsWith('.md')) {
        const kind = existsSync(target) && !target.match(/\.\w+$/) ? 'tree' : 'blob'
        token.attrSet('href', `${repository}/${kind}/main/${relative(resolve(docs, '..'), target)}${end}`)
      } else {
        token.attrSet('href', path.replace(/README\.md$/, 'index.md') + end)
      }
    }
  })
}

export default defineConfig({
  title: 'ovnkube',
  description: 'A network for Kubernetes built on Open vSwitch and OVN',
  outDir: '../_output/site',
  cacheDir: '../_output/site-cache',
  cleanUrls: true,
  metaChunk: true,
  // The outline would take the room of the tables there.
  transformPageData: page => { if (page.relativePath === 'comparison.md') page.frontmatter.aside = false },
  rewrites: { 'README.md': 'index.md', ':folder/README.md': ':folder/index.md' },
  markdown: { anchor: { slugify: slug }, config: links },
  head: [['link', { rel: 'icon', type: 'image/svg+xml', href: '/icon.svg' }]],
  themeConfig: {
    logo: '/icon.svg',
    nav: [
      { text: 'Get started', link: '/getting-started' },
      { text: 'Concepts', link: '/concepts/overview' },
      { text: 'Troubleshooting', link: '/troubleshooting' },
      { text: 'Reference', link: '/reference/flags' },
    ],
    sidebar: sidebar(),
    outline: [2, 3],
    search: { provider: 'local' },
    socialLinks: [{ icon: 'github', link: repository }],
    editLink: { pattern: `${repository}/edit/main/docs/:path` },
  },
})
