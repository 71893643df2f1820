// SPDX-License-Identifier: MIT
// A browser's fetch (Chromium, driven by playwright-core) from a page of another origin.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { chromium } from 'playwright-core';
import { check, httpPort } from '../npm/checks.mjs';

const server = `http://127.0.0.1:${httpPort}`;
const token = process.env.CLIENT_TOKEN;
const workspace = process.env.CLIENT_WORKSPACE;
const key = `${server}/api2/${workspace}/clients/browser`;
const md5 = (text) => `"${createHash('md5').update(text).digest('hex')}"`;
const authorized = (headers = {}) => ({ Authorization: `Bearer ${token}`, ...headers });

async function servePage() {
  const script = await readFile(new URL('page.mjs', import.meta.url));
  const pages = createServer((request, response) => {
    const isScript = request.url === '/page.mjs';
    response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html; charset=utf-8');
    response.end(isScript ? script : '<!doctype html><script type="module" src="/page.mjs"></script>');
  });
  await new Promise((done) => pages.listen(0, '127.0.0.1', done));
  return pages;
}

async function openPage(pages) {
  const browser = await chromium.launch({
    executablePath: process.env.CLIENT_CHROMIUM,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
      '--no-proxy-server'],
  });
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${pages.address().port}/`);
  await page.waitForFunction(() => Boolean(globalThis.clientAsk));
  return { browser, page };
}

/** Checks of key routes; `ask` is fetch inside the page. */
async function keys(ask, type) {
  const url = `${key}?type=${type}`;
  const put = (body, headers) => ask(url, { method: 'PUT', body, headers: authorized(headers) });
  await check(`PUT with Authorization passes the preflight (${type})`, async () => {
    const answer = await put('one');
    assert.equal(answer.status, 204);
    assert.equal(answer.etag, md5('one'));
  });
  await check(`GET shows value, ETag, Hati-Revision and X-Request-Id to the page (${type})`, async () => {
    const answer = await ask(url, { headers: authorized() });
    assert.equal(answer.status, 200);
    assert.equal(answer.text, 'one');
    assert.equal(answer.etag, md5('one'));
    assert.match(answer.revision, /^[0-9]+$/);
    assert.ok(answer.request);
  });
  await check(`If-Match with the ETag read writes, with an old one does not (${type})`, async () => {
    const { etag } = await ask(url, { headers: authorized() });
    assert.equal((await put('two', { 'If-Match': etag })).status, 204);
    assert.equal((await put('three', { 'If-Match': etag })).status, 412);
    assert.equal((await ask(url, { headers: authorized() })).text, 'two');
  });
  await check(`If-None-Match gives 304 to the page (${type})`, async () => {
    const headers = authorized({ 'If-None-Match': md5('two') });
    assert.equal((await ask(url, { headers, cache: 'no-store' })).status, 304);
  });
  await check(`a TTL is set and seen (${type})`, async () => {
    const answer = await ask(`${url}&ttl=600000`, { method: 'PUT', body: 'two', headers: authorized() });
    assert.equal(answer.status, 204);
    const { ttl } = await ask(url, { headers: authorized(), cache: 'no-store' });
    assert.ok(Number(ttl) > 0 && Number(ttl) <= 600000, String(ttl));
  });
  await check(`HEAD, DELETE and a missing key (${type})`, async () => {
    assert.equal((await ask(url, { method: 'HEAD', headers: authorized() })).etag, md5('two'));
    assert.equal((await ask(url, { method: 'DELETE', headers: authorized() })).status, 204);
    const answer = await ask(url, { headers: authorized(), cache: 'no-store' });
    assert.equal(answer.status, 404);
    assert.equal(JSON.parse(answer.text).code, 'KEY_NOT_EXIST');
  });
}

async function rpc(ask) {
  const call = async (body) => ask(`${server}/rpc`, {
    method: 'POST',
    headers: authorized({ 'Content-Type': 'application/json' }),
    body: JSON.stringify(body),
  });
  await check('JSON-RPC from the page', async () => {
    const at = { type: 'memory', key: 'browser' };
    const set = await call({ jsonrpc: '2.0', id: 1, method: 'Storage.Set', params: { ...at, value: 'ů' } });
    assert.deepEqual(JSON.parse(set.text), { jsonrpc: '2.0', id: 1, result: true });
    const get = await call({ jsonrpc: '2.0', id: 2, method: 'Storage.Get', params: at });
    assert.equal(JSON.parse(get.text).result, 'ů');
    const gone = await call({ jsonrpc: '2.0', id: 3, method: 'Storage.Get', params: ['hdd', 'browser'] });
    assert.equal(gone.status, 200);
    assert.equal(JSON.parse(gone.text).error.code, -32001);
    const noted = await call({ jsonrpc: '2.0', method: 'Storage.Delete', params: at });
    assert.deepEqual([noted.status, noted.text], [200, '']);
  });
}

async function refusals(ask) {
  await check('without a token the page reads 401, not a failure of its own', async () => {
    const answer = await ask(`${key}?type=memory`, {});
    assert.equal(answer.status, 401);
  });
  await check('a token of another workspace is 403', async () => {
    const other = key.replace(workspace, '00000000-0000-0000-0000-00000000000b');
    assert.equal((await ask(other, { headers: authorized() })).status, 403);
  });
}

/** The example of docs/watch.md as it stands there, its first lines aside. */
async function watch(ask, openAnother) {
  const text = await readFile(new URL('../../../docs/watch.md', import.meta.url), 'utf8');
  const example = /<script type="module">\n([^]*?)<\/script>/.exec(text)[1]
    .replace(/^const base = .*$/m, `const base = ${JSON.stringify(server)}, token = ${JSON.stringify(token)}`)
    .replace(/^const path = .*$/m, `const path = "/api2/${workspace}/watched"`);
  const url = (name) => `${server}/api2/${workspace}/watched/${name}?type=hdd`;
  const write = (method, name) => ask(url(name), { method, body: method === 'PUT' ? '1' : undefined, headers: authorized() });
  await check('EventSource with a ticket: the example of docs/watch.md follows a namespace', async () => {
    for (const name of ['a', 'b']) await write('PUT', name);
    const page = await openAnother();
    await page.addScriptTag({ type: 'module', content: `${example}\nglobalThis.watched = entries` });
    const has = (names) => page.waitForFunction(
      (wanted) => [...(globalThis.watched ?? new Map()).keys()].sort().join() === wanted, names, { timeout: 20000 });
    await has('a,b');
    await write('PUT', 'c');
    await write('DELETE', 'a');
    await has('b,c');
    await page.context().setOffline(true);
    await page.context().setOffline(false);
    await write('PUT', 'd');
    await has('b,c,d');
  });
}

const pages = await servePage();
const { browser, page } = await openPage(pages);
const ask = (url, options) =>
  page.evaluate(([where, how]) => globalThis.clientAsk(where, how), [url, options]);
try {
  for (const type of ['memory', 'hdd']) await keys(ask, type);
  await rpc(ask);
  await refusals(ask);
  await watch(ask, async () => {
    const another = await browser.newPage();
    await another.goto(`http://127.0.0.1:${pages.address().port}/`);
    return another;
  });
  await check('a server that allows one other origin is closed to this page', async () => {
    const closed = `http://127.0.0.1:${process.env.CLIENT_CLOSED_PORT}/status`;
    assert.deepEqual(await ask(closed, {}), { refused: 'TypeError' });
    assert.equal((await fetch(closed)).status, 200);
  });
} finally {
  await browser.close();
  pages.close();
}
