import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'

const types = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json',
  '.woff2': 'font/woff2', '.png': 'image/png',
}

// serve hands out a folder on loopback as a web server with clean addresses does: /page is page.html, /folder/ is folder/index.html.
export async function serve(folder) {
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://site').pathname))
    for (const file of path.endsWith('/') ? [`${path}index.html`] : [path, `${path}.html`]) {
      try {
        const body = await readFile(join(folder, file))
        response.writeHead(200, { 'content-type': types[extname(file)] ?? 'application/octet-stream' }).end(body)
        return
      } catch (error) {
        if (error.code !== 'ENOENT' && error.code !== 'EISDIR') throw error
      }
    }
    response.writeHead(404).end()
  })
  await new Promise(listening => server.listen(0, '127.0.0.1', listening))
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() }
}
