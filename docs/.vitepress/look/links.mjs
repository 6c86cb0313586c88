const atOnce = 8
const patience = 20_000
// Links to this repository lead to files, which test/docs looks for, and to versions that may not be published yet.
const own = 'https://github.com/ovnkube/ovnkube'

// follow asks for each address, a map of addresses to the pages that link there, and returns which do not answer, in sentences.
export async function follow(external) {
  const wrong = []
  const queue = [...external.keys()].filter(url => !url.startsWith(own)).sort()
  const count = queue.length
  const worker = async () => {
    for (let url = queue.shift(); url; url = queue.shift()) {
      const answer = await ask(url)
      if (answer) wrong.push(`${url}: ${answer} (linked from ${[...new Set(external.get(url))].join(', ')})`)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  console.log(`${count} links to other sites, ${wrong.length} of them do not answer as they should`)
  return wrong.sort()
}

// ask returns what is wrong with an address, and nothing if it is well. That somebody wants to know who asks (401, 403, 429) is no fault of the link.
async function ask(url) {
  try {
    const response = await fetch(url, { redirect: 'follow', signal: AbortSignal.timeout(patience), headers: { 'user-agent': 'ovnkube-docs-links' } })
    await response.body?.cancel()
    return response.ok || [401, 403, 429].includes(response.status) ? '' : `status ${response.status}`
  } catch (error) {
    return error.cause?.message ?? error.message
  }
}
