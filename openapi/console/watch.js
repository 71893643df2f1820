// SPDX-License-Identifier: MIT
// Changes of a namespace as they happen: the server's event stream, read with fetch, which can show
// a token where EventSource cannot.
import { call, listPath } from './api.js';

const AGAIN_MS = 1000;

/** The events of a stream, as [{event, id, data}], and what is left of the text. */
export function parseEvents(text) {
  const parts = text.split('\n\n');
  const rest = parts.pop();
  const events = parts.map((part) => {
    const fields = {};
    for (const line of part.split('\n')) {
      const at = line.indexOf(':');
      if (at > 0) fields[line.slice(0, at)] = line.slice(at + 1).replace(/^ /, '');
    }
    return fields;
  }).filter((fields) => fields.data);
  return [events, rest];
}

async function read(answer, take) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const [events, rest] = parseEvents(text + value);
    text = rest;
    events.forEach(take);
  }
}

/** Calls `told(change)` for each, `told(null)` where some were missed, `live(true or false)` as the
 * stream comes and goes. Gives what ends it. */
export function watch(at, { told, live }) {
  const control = new AbortController();
  let last;
  const take = ({ event, id, data }) => {
    last = id;
    if (event === 'ready') live(true);
    else told(event === 'resync' ? null : JSON.parse(data));
  };
  (async () => {
    while (!control.signal.aborted) {
      try {
        const answer = await call('GET', listPath(at), { query: { watch: 1, type: at.type, prefix: at.prefix }, headers: { Accept: 'text/event-stream', ...(last ? { 'Last-Event-ID': last } : {}) }, signal: control.signal });
        if (!/event-stream/.test(answer.headers.get('Content-Type') ?? '')) return; // a server without it
        live(true);
        await read(answer, take);
      } catch (error) {
        if (control.signal.aborted || (error.status >= 400 && error.status < 500 && error.status !== 429)) return;
      }
      if (control.signal.aborted) return;
      live(false);
      await new Promise((done) => { setTimeout(done, AGAIN_MS); });
    }
  })();
  return () => control.abort();
}
