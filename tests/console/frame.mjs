// SPDX-License-Identifier: MIT
// The way in, the overview, nodes, themes, prefixes, and what it weighs.
import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { accessible, api, base, check, newPage, shot, until } from './browser.mjs';

const port = process.env.CONSOLE_OPEN;
const FIRST_PAINT_BYTES = 100 * 1024;

async function weigh() {
  const page = await newPage();
  const session = await page.context().newCDPSession(page);
  const sizes = new Map();
  await session.send('Network.enable');
  session.on('Network.responseReceived', ({ requestId, response }) => { if (/\/(console|assets\/)/.test(response.url)) sizes.set(requestId, { url: response.url, bytes: 0 }); });
  session.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => { if (sizes.has(requestId)) sizes.get(requestId).bytes = encodedDataLength; });
  await page.goto(base(port, '/console'));
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.locator('.strip dd').first().waitFor();
  const total = [...sizes.values()].reduce((sum, one) => sum + one.bytes, 0);
  assert.ok(sizes.size > 6, `only ${sizes.size} files`);
  assert.ok(total > 10000 && total < FIRST_PAINT_BYTES, `${total} bytes`);
  console.log(`      first paint: ${total} bytes in ${sizes.size} files`);
  await page.context().close();
}

async function overview() {
  const page = await newPage();
  await page.goto(base(port, '/'));
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  assert.equal(new URL(page.url()).pathname, '/console');
  await page.getByText('ready', { exact: true }).first().waitFor();
  const { put, get } = api(port);
  for (let at = 0; at < 30; at += 1) await put(`load/${at}`, 'x').then(() => get(`load/${at}`));
  await page.locator('.card.graph', { hasText: 'Requests per second' }).locator('path.line').first().waitFor({ state: 'attached' });
  await until(() => page.locator('.card.graph', { hasText: 'Requests per second' }).locator('.figure').innerText().then((text) => Number(text) > 0), 'a rate');
  await until(() => page.locator('.card.graph', { hasText: 'Latency' }).locator('.figure').innerText().then((text) => /\d (µs|ms)/.test(text)), 'a latency');
  await until(() => page.locator('.card.graph', { hasText: 'Keys' }).locator('.figure').innerText().then((text) => Number(text.replace(/\s/g, '')) >= 30), 'a number of keys');
  await page.getByRole('row', { name: /Storage\.Set/ }).waitFor();
  assert.match(await page.getByRole('img', { name: /^Keys\./ }).getAttribute('aria-label'), /hdd: \d+/);
  await page.locator('.plot').first().hover();
  await page.locator('.tip:visible').first().waitFor();
  await page.mouse.move(0, 0);
  await accessible(page, 'overview');
  await shot(page, 'overview');
  await page.context().close();
}

async function nodes() {
  const page = await newPage({ dark: true });
  await page.goto(base(port, '/console#/nodes'));
  await page.getByRole('heading', { name: 'Nodes and shards' }).waitFor();
  await page.getByRole('region', { name: 'Shards of hdd' }).getByText(/keys/).first().waitFor();
  await page.getByRole('region', { name: 'Shards of the view' }).getByText(`127.0.0.1:${port}`).waitFor();
  await accessible(page, 'nodes');
  await page.goto(base(process.env.CONSOLE_BASED, '/hati/console#/nodes'));
  await page.getByRole('region', { name: 'Peers' }).first().getByRole('row', { name: /^127\.0\.0\.1:1 / }).waitFor();
  await shot(page, 'nodes-dark');
  await page.context().close();
}

async function theme() {
  const page = await newPage();
  await page.goto(base(port, '/console'));
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await ground();
  const button = page.getByRole('button', { name: /Theme/ });
  await button.click();
  assert.equal(await ground(), light, 'light by choice');
  await button.click();
  assert.notEqual(await ground(), light, 'dark by choice');
  await accessible(page, 'dark');
  await page.reload();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  assert.notEqual(await ground(), light, 'kept');
  await page.context().close();
}

/** A proxy that serves a server under a path, and hands the path on or takes it off. */
async function proxy(to, path, strips) {
  const door = createServer((ask, answer) => {
    if (!ask.url.startsWith(path)) {
      answer.writeHead(502).end();
      return;
    }
    const on = request({ port: to, host: '127.0.0.1', method: ask.method, path: strips ? ask.url.slice(path.length) || '/' : ask.url, headers: ask.headers }, (got) => {
      answer.writeHead(got.statusCode, got.headers);
      got.pipe(answer);
    });
    answer.on('close', () => on.destroy()); // a stream that nobody reads any more
    on.on('error', () => answer.destroy());
    ask.pipe(on);
  });
  await new Promise((done) => { door.listen(0, '127.0.0.1', done); });
  return door;
}

async function behind(to, path, strips, entry) {
  const door = await proxy(to, path, strips);
  const page = await newPage();
  const root = base(door.address().port, path);
  const name = `behind/a proxy ${door.address().port}`;
  try {
    await page.goto(root + entry);
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    assert.equal(page.url().split('#')[0], `${root}/console`);
    await page.locator('.strip dd').first().waitFor();
    if (!entry) return;
    await page.goto(`${root}/console#/keys`);
    await page.getByRole('button', { name: 'New key' }).click();
    await page.getByLabel('Key', { exact: true }).fill(name);
    await page.getByLabel('Value', { exact: true }).fill('it goes');
    await page.getByRole('button', { name: 'Make it' }).click();
    await page.getByRole('textbox', { name: 'Value as Text' }).waitFor();
    await page.getByRole('link', { name: 'API documentation' }).click();
    await page.locator('rapi-doc').getByText('hati', { exact: true }).first().waitFor();
    assert.equal(page.url(), `${root}/docs`);
    assert.equal(await api(to).text(name), 'it goes');
  } finally {
    await page.context().close();
    door.close();
  }
}

async function phone() {
  for (const dark of [false, true]) {
    const page = await newPage({ width: 360, height: 740, dark });
    for (const [name, hash] of [['Overview', ''], ['Keys', '#/keys'], ['Queues', '#/queues'], ['Nodes', '#/nodes']]) {
      await page.goto(base(port, `/console${hash}`));
      await page.getByRole('heading', { name: new RegExp(`^${name}`), level: 1 }).waitFor();
      await page.locator('.card:visible').first().waitFor();
      await shot(page, `phone-${name.toLowerCase()}${dark ? '-dark' : ''}`);
    }
    await accessible(page, 'phone');
    await page.context().close();
  }
}

async function away() {
  const page = await newPage({ allow: [/net::ERR_FAILED/] });
  await page.goto(base(port, '/console'));
  await page.locator('.strip dd').first().waitFor();
  await page.route('**/stats', (route) => route.abort());
  await page.getByRole('alert').getByText(/cannot be reached/).waitFor();
  await shot(page, 'away');
  await page.unroute('**/stats');
  await page.getByText('ready', { exact: true }).first().waitFor();
  await page.route('**/rpc', (route) => route.abort());
  await page.reload();
  await page.getByRole('heading', { name: 'The server cannot be reached' }).waitFor();
  await page.unroute('**/rpc');
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.context().close();
}

/** As a server without credentials answers other machines. */
async function elsewhere() {
  const page = await newPage();
  const detail = 'without credentials configured only this machine is served';
  await page.route(/:\d+\/(stats|metrics|rpc|api2|broker)/, (route) => route.fulfill({ status: 403, contentType: 'application/problem+json', body: JSON.stringify({ title: 'forbidden', status: 403, detail, code: 'FORBIDDEN' }) }));
  for (const hash of ['', '#/keys', '#/queues', '#/nodes']) {
    await page.goto(base(port, `/console${hash}`));
    await page.getByRole('heading', { name: 'Not from here' }).first().waitFor();
    await page.getByText(detail).first().waitFor();
  }
  await page.context().close();
}

export async function frame() {
  await check('frame: the first paint is light', weigh);
  await check('frame: a browser at / sees live figures', overview);
  await check('frame: nodes and shards', nodes);
  await check('frame: light, dark, and the choice is kept', theme);
  await check('frame: behind a proxy that keeps the prefix', () => behind(process.env.CONSOLE_BASED, '/hati', false, '/'));
  await check('frame: behind a proxy that keeps the prefix, without the last slash', () => behind(process.env.CONSOLE_BASED, '/hati', false, ''));
  await check('frame: behind a proxy that takes the prefix off', () => behind(port, '/some/where', true, '/'));
  await check('frame: a server that is away is told, and tried again', away);
  await check('frame: a server that serves its own machine alone', elsewhere);
  await check('frame: nothing is cut off on a phone', phone);
}
