// inspect opens a page and returns it with what is wrong, in sentences, and the addresses of other sites that it links to.
export async function inspect(context, origin, path) {
  const page = await context.newPage()
  const wrong = []
  page.on('pageerror', error => wrong.push(`a script failed: ${error.message}`))
  page.on('console', message => { if (message.type() === 'error') wrong.push(`in the console: ${message.text()}`) })
  page.on('requestfailed', request => wrong.push(`did not get ${request.url()}`))
  page.on('response', response => { if (response.status() >= 400) wrong.push(`${response.status()} for ${response.url()}`) })
  // The theme is a program that takes over the page that was built: it is there when nothing is fetched any more.
  await page.goto(`${origin}/${path}`, { waitUntil: 'networkidle' })
  const seen = await page.evaluate(survey)
  return { page, wrong: [...wrong, ...seen.wrong], external: seen.external }
}

// survey runs in the page.
function survey() {
  const wrong = []
  if (document.querySelectorAll('main h1').length !== 1) wrong.push('has not one heading of the first level')
  const root = document.documentElement
  if (root.scrollWidth > root.clientWidth) {
    const widest = [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > root.clientWidth + 1 && !e.closest('pre, table, svg'))
    wrong.push(`is ${root.scrollWidth - root.clientWidth} pixels wider than the window: ${widest.slice(0, 3).map(e => e.tagName + ' ' + e.textContent.trim().slice(0, 40)).join('; ')}`)
  }
  for (const image of document.querySelectorAll('main img')) {
    if (!image.complete || image.naturalWidth === 0) wrong.push(`image ${image.src} did not load`)
  }
  for (const picture of document.querySelectorAll('main .picture svg')) {
    const view = picture.viewBox.baseVal
    for (const text of picture.querySelectorAll('text')) {
      const box = text.getBBox()
      const outside = view.width > 0 && (box.x < view.x || box.y < view.y || box.x + box.width > view.x + view.width || box.y + box.height > view.y + view.height)
      if (outside && !text.hasAttribute('transform') && !text.closest('g[transform]')) wrong.push(`in a picture "${text.textContent.trim()}" is cut off`)
    }
  }
  const links = [...document.querySelectorAll('main a[href]')]
  for (const a of links) {
    const url = new URL(a.href)
    if (url.origin === location.origin && url.pathname === location.pathname && url.hash && !document.getElementById(decodeURIComponent(url.hash.slice(1)))) {
      wrong.push(`links to ${url.hash}, which it does not have`)
    }
  }
  const external = links.map(a => new URL(a.href)).filter(u => u.protocol.startsWith('http') && u.origin !== location.origin)
  return { wrong, external: [...new Set(external.map(u => u.href.replace(/#.*/, '')))] }
}
