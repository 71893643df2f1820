// SPDX-License-Identifier: MIT
// Runs inside the page: `fetch` of a browser against a server of another origin.
// Each check gives what it saw, so that the test outside compares values and not words.

/** Everything a page can see of one answer. */
async function ask(url, options) {
  const response = await fetch(url, options);
  return {
    status: response.status,
    etag: response.headers.get('ETag'),
    revision: response.headers.get('Hati-Revision'),
    ttl: response.headers.get('Hati-Ttl'),
    request: response.headers.get('X-Request-Id'),
    text: await response.text(),
  };
}

/** The same, where the browser itself may refuse. */
async function tryAsk(url, options) {
  try {
    return await ask(url, options);
  } catch (error) {
    return { refused: error.name };
  }
}

globalThis.clientAsk = tryAsk;
