// Opens every page of the built site in headless Chromium, as a reader does, and says what is wrong with it: errors of scripts, files
// that are not there, pages wider than a phone, pictures that did not load or whose words do not fit. A screenshot of each page in each
// view goes to _output/site-look, for eyes. With --links the links to other sites are followed, too.
//
//   node .vitepress/look/main.mjs [--links] [--only PART-OF-A-PATH]     in folder docs, after make docs
//
// CHROMIUM names the browser's executable; otherwise chromium or google-chrome of PATH is taken.
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { delimiter, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'
import { inspect } from './inspect.mjs'
import { follow } from './links.mjs'
import { serve } from './serve.mjs'

const repository = resolve(dirname(fileURLToPath(import.meta.url)), '../../..')
const site = join(repository, '_output/site')
const pictures = join(repository, '_output/site-look')

// What readers have: a desk and a phone, by day and by night.
const views = [
  { name: 'desk', viewport: { width: 1440, height: 900 }, colorScheme: 'light' },
  { name: 'desk-dark', viewport: { width: 1440, height: 900 }, colorScheme: 'dark' },
  { name: 'phone', viewport: { width: 390, height: 844 }, colorScheme: 'light' },
]

// Longer pages are cut: nobody looks at 50,000 pixels, and drawing them takes a minute.
const tallest = 6000

function browser() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    for (const folder of process.env.PATH.split(delimiter)) {
      if (existsSync(join(folder, name))) return join(folder, name)
    }
  }
  throw new Error('there is no chromium in PATH: install it, or name it in CHROMIUM')
}

function pagesOf(folder, prefix = '') {
  return readdirSync(folder, { withFileTypes: true }).flatMap(e => {
    if (e.isDirectory()) return pagesOf(join(folder, e.name), `${prefix}${e.name}/`)
    if (!e.name.endsWith('.html') || e.name === '404.html') return []
    return [prefix + e.name.replace(/(index)?\.html$/, '')]
  }).sort()
}

async function photograph(page, name) {
  const size = await page.evaluate(() => ({ width: innerWidth, height: document.documentElement.scrollHeight }))
  const clip = { x: 0, y: 0, width: size.width, height: Math.min(size.height, tallest) }
  await page.screenshot({ path: join(pictures, name), type: 'jpeg', quality: 80, fullPage: true, clip, timeout: 120_000 })
}

async function look(options) {
  if (!existsSync(site)) throw new Error(`there is no ${site}: make docs`)
  const pages = pagesOf(site).filter(p => p.includes(options.only ?? ''))
  rmSync(pictures, { recursive: true, force: true })
  mkdirSync(pictures, { recursive: true })
  const server = await serve(site)
  // Chromium's own sandbox needs a user that is not root.
  const chrome = await chromium.launch({ executablePath: browser(), args: process.getuid() === 0 ? ['--no-sandbox'] : [] })
  const wrong = []
  const external = new Map()
  try {
    for (const view of views) {
      const context = await chrome.newContext({ viewport: view.viewport, colorScheme: view.colorScheme })
      for (const path of pages) {
        const found = await inspect(context, server.origin, path)
        await photograph(found.page, `${path.replaceAll('/', '-') || 'index'}.${view.name}.jpg`)
        await found.page.close()
        wrong.push(...found.wrong.map(w => `/${path} (${view.name}): ${w}`))
        for (const url of found.external) external.set(url, [...(external.get(url) ?? []), `/${path}`])
      }
      await context.close()
    }
  } finally {
    await chrome.close()
    server.close()
  }
  console.log(`${pages.length} pages in ${views.length} views; screenshots are in ${pictures}`)
  if (options.links) wrong.push(...await follow(external))
  return wrong
}

const { values } = parseArgs({ options: { links: { type: 'boolean' }, only: { type: 'string' } } })
const wrong = await look(values)
for (const w of wrong) console.error(w)
process.exitCode = wrong.length > 0 ? 1 : 0
