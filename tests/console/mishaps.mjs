// SPDX-License-Identifier: MIT
// What goes wrong while somebody works: tokens that end, values made to break a page, a namespace
// that never rests.
import assert from 'node:assert/strict';
import { api, base, check, newPage, until } from './browser.mjs';

const { CONSOLE_OPEN: port, CONSOLE_CLOSED: closed, CONSOLE_TOKEN: token } = process.env;
const { put, text } = api(port);
const area = (page) => page.getByRole('textbox', { name: 'Value as Text' });
const shows = (page, value) => until(async () => (await area(page).inputValue()) === value, value);

async function signIn(page) {
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('navigation', { name: 'Pages' }).waitFor();
}

async function ended() {
  const all = api(closed, token);
  await all.put('draft', 'as it was');
  const page = await newPage();
  await page.goto(base(closed, '/console#/keys/draft'));
  await signIn(page);
  await shows(page, 'as it was');
  await area(page).fill('an hour of work');
  await page.getByRole('button', { name: 'Delete…' }).click();
  await page.route('**/metrics', (route) => route.fulfill({ status: 401, body: '{"detail":"The token has expired"}' }));
  await page.getByText('Signed out: The token has expired').waitFor();
  assert.equal(await page.locator('dialog').count(), 0, 'nothing stands before the door');
  await page.unroute('**/metrics');
  await all.put('draft', 'by somebody else');
  await signIn(page);
  await page.getByText('changed on the server while you edit it').waitFor();
  await shows(page, 'an hour of work');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('heading', { name: 'Somebody else changed this key' }).waitFor();
  await page.getByRole('button', { name: 'Write mine over it' }).click();
  await until(async () => (await all.text('draft')) === 'an hour of work', 'saved');
  await area(page).fill('given up');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await signIn(page);
  await shows(page, 'an hour of work');
  await page.context().close();
}

async function elsewhere() {
  await put('kept/a', 'one');
  const page = await newPage();
  await page.goto(base(port, '/console#/keys/kept%2Fa?prefix=kept/'));
  await shows(page, 'one');
  await area(page).fill('two');
  await page.getByRole('link', { name: 'Nodes' }).click();
  await page.getByRole('heading', { name: 'Nodes' }).waitFor();
  await page.getByRole('link', { name: 'Keys' }).click();
  await page.getByRole('link', { name: 'kept/a' }).click();
  await page.getByText('This is what you were editing').waitFor();
  await shows(page, 'two');
  await page.getByRole('button', { name: 'Revert' }).click();
  await shows(page, 'one');
  assert.equal(await text('kept/a'), 'one');
  await page.context().close();
}

async function deep() {
  const value = '['.repeat(20000) + ']'.repeat(20000);
  await put('deep', value, { 'Content-Type': 'application/json' });
  const page = await newPage();
  await page.goto(base(port, '/console#/keys/deep'));
  await shows(page, value);
  assert.ok(await page.getByRole('tab', { name: 'JSON' }).isDisabled(), 'blanks of a gigabyte');
  await page.context().close();
}

async function restless() {
  await Promise.all(Array.from({ length: 1100 }, (_, at) => put(`k${String(at).padStart(4, '0')}`, 'x', {}, '?type=memory', 'restless')));
  const page = await newPage();
  await page.clock.install();
  let go;
  const held = new Promise((done) => { go = done; });
  await page.route(/limit=1000&cursor=/, async (route) => {
    await held;
    await route.continue();
  });
  await page.goto(base(port, '/console#/keys/k0000?namespace=restless&type=memory&search=k1'));
  await page.getByText('0 found in 1 000 keys…').waitFor();
  await page.getByText('live', { exact: true }).waitFor();
  await put('k0000', 'y', {}, '?type=memory', 'restless');
  await shows(page, 'y');
  await page.clock.runFor(1000);
  go();
  await page.locator('.pager').getByText('100 found in 1 100 keys').waitFor();
  await page.context().close();
}

async function unseen() {
  const page = await newPage();
  await page.goto(base(port, '/console#/keys?namespace=unseen'));
  await page.getByText('live', { exact: true }).waitFor();
  const turn = (hidden) => page.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  const [ended_] = await Promise.all([page.waitForEvent('requestfailed'), turn(true)]);
  assert.match(ended_.url(), /watch=1/, 'six tabs may not take all of the browser’s connections');
  await put('meanwhile', 'x', {}, '', 'unseen');
  await turn(false);
  await page.getByRole('link', { name: 'meanwhile' }).waitFor();
  await page.getByText('live', { exact: true }).waitFor();
  await page.context().close();
}

async function away() {
  const all = api(port);
  await all.json('PUT', '/broker/queues/still-there', { type: 'memory' });
  const page = await newPage({ allow: [/ERR_FAILED/] });
  await page.goto(base(port, '/console#/queues'));
  await page.getByRole('row', { name: /still-there/ }).waitFor();
  await page.route('**/broker/**', (route) => route.abort());
  await page.getByText('The server cannot be reached').waitFor();
  assert.ok(await page.getByRole('row', { name: /still-there/ }).isVisible(), 'as it was');
  assert.ok(!(await page.getByText('No queues yet').isVisible()), 'nobody said so');
  await page.unroute('**/broker/**');
  await page.getByText('The server cannot be reached').waitFor({ state: 'hidden' });
  await all.call('DELETE', '/broker/queues/still-there');
  await page.context().close();
}

export async function mishaps() {
  await check('mishaps: the server is away, and what was seen stays', away);
  await check('mishaps: a token that ends takes no text with it', ended);
  await check('mishaps: what was edited is there again', elsewhere);
  await check('mishaps: JSON nested without end', deep);
  await check('mishaps: a search goes on while keys change', restless);
  await check('mishaps: a tab that is not looked at holds no connection', unseen);
}
