// SPDX-License-Identifier: MIT
// Sends what generators.mjs makes to a running server, several at a time, for HATI_FUZZ_SECONDS, and
// holds every answer against the documents. HATI_FUZZ_SEED repeats a run; a failure is shrunk.
import http from 'node:http';
import net from 'node:net';
import fc from 'fast-check';
import { check, httpPort, linePort } from '../npm/checks.mjs';
import { Documents } from './documents.mjs';
import { KEPT, requests } from './generators.mjs';

const DEADLINE_MS = 20000;
const STREAM_MS = 30;
const seconds = Number(process.env.HATI_FUZZ_SECONDS ?? 15);
const seed = Number(process.env.HATI_FUZZ_SEED ?? Date.now() % 1000000000);
const all = process.env.HATI_FUZZ_ALL === '1'; // every kind of fault, none of them shrunk
const only = process.env.HATI_FUZZ_ONLY ?? ''; // part of an operation's name
const seen = new Map();
const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
const kept = { receipt: 'none', cursor: 'none', etag: '"none"' };
const counts = { answers: 0, good: 0, unavailable: 0 };

function fill(text) {
  return Object.entries(KEPT).reduce((filled, [name, mark]) =>
    filled.replaceAll(encodeURIComponent(mark), encodeURIComponent(kept[name]))
      .replaceAll(JSON.stringify(mark), JSON.stringify(kept[name])).replaceAll(mark, kept[name]), text);
}

function keep(answer) {
  if (answer.headers.etag) kept.etag = answer.headers.etag;
  for (const name of ['receipt', 'cursor']) {
    const found = new RegExp(`"${name}":"([^"\\\\]+)"`).exec(answer.body);
    if (found) kept[name] = found[1];
  }
}

/** One HTTP exchange; the body as text. A stream is cut off. */
function exchange(method, path, headers, body) {
  return new Promise((resolve, reject) => {
    const bytes = body === undefined ? undefined : Buffer.from(body);
    // Node tells no length with a DELETE and the like
    const framing = bytes ? { 'Content-Length': bytes.length } : {};
    const request = http.request({
      host: '127.0.0.1', port: httpPort, method, path, headers: { ...headers, ...framing }, agent,
    });
    const timer = setTimeout(() => request.destroy(new Error('no answer in time')), DEADLINE_MS);
    request.on('error', reject);
    request.on('close', () => clearTimeout(timer));
    request.on('response', (response) => {
      const parts = [];
      const done = (cut) => resolve({
        status: response.statusCode,
        headers: { ...response.headers, ...(cut ? { 'x-cut': '1' } : {}) },
        body: Buffer.concat(parts).toString(),
      });
      response.on('data', (part) => parts.push(part));
      response.on('end', () => done(false));
      response.on('error', reject);
      if (response.headers['content-type']?.startsWith('text/event-stream'))
        setTimeout(() => { done(true); request.destroy(); }, STREAM_MS);
    });
    request.end(bytes);
  });
}

/** A line, and a ping behind it, whose answer ends the wait: what came before that. */
function lineExchange(text) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(linePort, '127.0.0.1');
    const timer = setTimeout(() => socket.destroy(new Error('no answer to a line in time')), DEADLINE_MS);
    let got = '';
    socket.on('error', reject);
    socket.on('close', () => { clearTimeout(timer); reject(new Error(`a line was hung up on: ${got.slice(-200)}`)); });
    socket.on('data', (part) => {
      got += part;
      const at = got.search(/(^|\n)\+PONG\n$/);
      if (at < 0) return;
      resolve(got.slice(0, at));
      socket.end();
    });
    socket.write(`${text.replaceAll('\n', ' ')}\nPING\n`);
  });
}

const sane = (headers) => Object.fromEntries(Object.entries(headers)
  .map(([name, value]) => [name, fill(value)])
  .filter(([, value]) => /^[\t\x20-\x7e\x80-\xff]*$/.test(value)));

async function restFault(documents, request) {
  const path = fill(request.path);
  const target = request.query ? `${path}?${fill(request.query)}` : path;
  const body = request.body === undefined ? undefined : fill(request.body);
  const answer = await exchange(request.method, target, sane(request.headers), body);
  keep(answer);
  counts.answers++;
  counts.good += answer.status < 400;
  counts.unavailable += answer.status === 503;
  return documents.judge(request.method, path, answer);
}

async function rpcFault(documents, request) {
  const text = fill(request.text);
  let answer;
  if (request.door === 'line') {
    answer = /^\s*[[{]/.test(text) && !/^[ \t\ufeff]/.test(text)
      ? { status: 200, headers: {}, body: await lineExchange(text) } : null;
    if (!answer) return null;
  } else {
    answer = await exchange('POST', request.door, { 'Content-Type': 'application/json' }, text);
    const fault = documents.judge('POST', request.door, answer);
    if (fault) return fault;
  }
  keep(answer);
  counts.answers++;
  let call, got;
  try {
    call = JSON.parse(text);
    got = JSON.parse(answer.body || 'null');
  } catch {
    return null;
  }
  counts.good += got?.result !== undefined;
  if (Array.isArray(got)) return got.some((one) => one.error?.code === -32603) ? `internal: ${answer.body.slice(0, 500)}` : null;
  return got && call && !Array.isArray(call) && answer.status === 200 ? documents.judgeCall(call, got) : null;
}

async function documentOf(name) {
  return JSON.parse((await exchange('GET', `/${name}`, {})).body);
}

const documents = new Documents(await documentOf('openapi.json'), await documentOf('openrpc.json'));
const property = fc.asyncProperty(fc.array(requests(documents, only), { minLength: 1, maxLength: 6 }), async (list) => {
  const faults = await Promise.all(list.map((request) =>
    (request.kind === 'rest' ? restFault : rpcFault)(documents, request)));
  if (all) {
    faults.forEach((fault, i) => fault && seen.set(`${list[i].method} ${fault.slice(0, 60)}`, `${fault} <- ${JSON.stringify(list[i]).slice(0, 700)}`));
    return;
  }
  const at = faults.findIndex(Boolean);
  if (at >= 0) throw new Error(`${faults[at]} <- ${JSON.stringify(list[at]).slice(0, 1500)}`);
});
const result = await fc.check(property, {
  seed, numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: seconds * 1000, markInterruptAsFailure: false,
});
const name = `seed ${seed}: ${result.numRuns} rounds, ${counts.answers} answers, ${counts.good} of success, ` +
  `${counts.unavailable} unavailable`;
for (const fault of seen.values()) console.log(`FAIL ${fault}`);
if (result.failed)
  console.log(`FAIL ${name}: HATI_FUZZ_SEED=${seed} repeats it: ${String(result.errorInstance?.message ?? result.error).slice(0, 3000)}`);
else
  console.log(`ok ${name}`);
const { status } = await exchange('GET', '/healthz', {});
await check('the server lives at the end', async () => { if (status !== 200) throw new Error(String(status)); });
process.exit(0);
