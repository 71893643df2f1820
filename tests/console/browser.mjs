// SPDX-License-Identifier: MIT
// A browser whose pages may not complain: console errors, broken policies, failed scripts and
// requests to anywhere else fail the check that made them.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const env = process.env;
export const PATIENCE_MS = 20000;
export const base = (port, path = '/') => `http://127.0.0.1:${port}${path}`;
// what the server refuses is told to the page as a status, and by the browser to its console
const STATUS = /^Failed to load resource: the server responded with a status of (400|401|403|404|412|416)/;
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const browser = await chromium.launch({
  executablePath: env.CONSOLE_CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-proxy-server'],
});

const wanted = process.argv[2] ?? '';
const complaints = [];
let strict = true;

/** A page, and all that it says. */
export async function newPage({ width = 1280, height = 860, dark = false, allow = [] } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', reducedMotion: 'reduce' });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on('console', (message) => {
    if (strict && ['error', 'warning'].includes(message.type()) && !STATUS.test(message.text()) && !allow.some((one) => one.test(message.text()))) complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message} ${error.stack ?? ''}`));
  page.on('dialog', (dialog) => { complaints.push(`a dialog of the browser: ${dialog.message()}`); dialog.dismiss(); });
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (!['127.0.0.1', ''].includes(url.hostname) && !['data:', 'blob:'].includes(url.protocol)) complaints.push(`a request to ${url.href}`);
  });
  return page;
}

/** Runs one check; prints `ok NAME` or `FAIL NAME: why`. */
export async function check(name, run) {
  if (!name.includes(wanted)) return;
  const start = Date.now();
  complaints.length = 0;
  try {
    await run();
    assert.deepEqual(complaints, []);
    console.log(`ok ${name}`);
    if (Date.now() - start > 4000) console.log(`      ${name} took ${Math.round((Date.now() - start) / 1000)} s`);
  } catch (error) {
    console.log(`FAIL  ${name}: ${String(error?.stack ?? error).slice(0, 900)}${complaints.length ? ` [${complaints.join(' | ').slice(0, 500)}]` : ''}`);
  }
}

export async function shot(page, name) {
  await page.screenshot({ path: `${env.CONSOLE_SHOTS}/${name}.png`, fullPage: true });
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(over <= 0, `${name} is ${over} px wider than the window`);
}

/** Nothing serious or critical for those who do not see, or not well. */
export async function accessible(page, name) {
  strict = false; // what axe itself does to the page is not the page's
  try {
    if (!(await page.evaluate(() => Boolean(globalThis.axe)))) await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
    const bad = violations.filter((one) => ['serious', 'critical', 'moderate'].includes(one.impact));
    assert.deepEqual(bad.map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => `${node.target} ${node.any[0]?.message ?? ''}`).join('; ')}`), [], name);
  } finally {
    strict = true;
  }
}

/** Asks again until it is so. */
export async function until(ask, text, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  let got;
  do {
    got = await ask();
    if (got) return got;
    await new Promise((done) => { setTimeout(done, 50); });
  } while (Date.now() < end);
  return assert.fail(`${text}: never`);
}

/** Calls of the API beside the page. */
export function api(port, token) {
  const call = async (method, path, body, headers = {}) => fetch(base(port, path), { method, body, headers: { ...headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) } });
  const keys = '/api2/11111111-2222-3333-4444-555555555555';
  return {
    call,
    put: async (key, body, headers, query = '', ns = 'default') => {
      const answer = await call('PUT', `${keys}/${ns}/${encodeURIComponent(key)}${query}`, body, headers);
      assert.ok(answer.ok, `PUT ${key}: ${answer.status}`);
    },
    get: (key, ns = 'default', query = '') => call('GET', `${keys}/${ns}/${encodeURIComponent(key)}${query}`),
    remove: (key, ns = 'default') => call('DELETE', `${keys}/${ns}/${encodeURIComponent(key)}`),
    text: async (key, ns = 'default') => (await call('GET', `${keys}/${ns}/${encodeURIComponent(key)}`)).text(),
    json: async (method, path, body) => {
      const answer = await call(method, path, body && JSON.stringify(body), body ? { 'Content-Type': 'application/json' } : {});
      const text = await answer.text();
      assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
      return text ? JSON.parse(text) : null;
    },
  };
}
