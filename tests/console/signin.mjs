// SPDX-License-Identifier: MIT
// With credentials: nothing without a token, no more than it allows, and nothing of it is kept.
import assert from 'node:assert/strict';
import { accessible, api, base, check, newPage, shot, until } from './browser.mjs';

const { CONSOLE_CLOSED: port, CONSOLE_TOKEN: token, CONSOLE_READER: reader, CONSOLE_WORKSPACE: workspace } = process.env;

async function enter(given, hash = '', options = {}) {
  const page = await newPage(options);
  await page.goto(base(port, `/console${hash}`));
  await page.getByRole('heading', { name: 'Sign in with a token' }).waitFor();
  if (given) {
    await page.getByLabel('Token').fill(given);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('navigation', { name: 'Pages' }).waitFor();
  }
  return page;
}

async function refused() {
  const page = await enter(null);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'token', 'one may type at once');
  for (const bad of ['nonsense', `${token.slice(0, -4)}AAAA`]) {
    await page.getByLabel('Token').fill(bad);
    await page.keyboard.press('Enter');
    await page.getByRole('alert').getByText('does not take this token').waitFor();
  }
  await accessible(page, 'sign in');
  await shot(page, 'signin');
  await page.context().close();
  for (const [name, options] of [['signin-dark', { dark: true }], ['signin-phone', { width: 360, height: 740 }]]) {
    const other = await enter(null, '', options);
    await shot(other, name);
    await other.context().close();
  }
}

async function forgotten() {
  const page = await enter(`Bearer ${token}`);
  await page.locator('.strip dd').first().waitFor();
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, document.documentElement.outerHTML]));
  assert.ok(!kept.includes(token.slice(0, 40)), 'the token is nowhere but in memory');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in with a token' }).waitFor();
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('.strip dd').first().waitFor();
  await page.reload();
  await page.getByRole('heading', { name: 'Sign in with a token' }).waitFor();
  await page.context().close();
}

async function narrow() {
  const all = api(port, token);
  const path = `/api2/${workspace}/default/secret%20plan`;
  assert.ok((await all.call('PUT', path, 'for readers')).ok);
  const page = await enter(reader);
  await page.getByRole('heading', { name: 'Figures are not for this token' }).waitFor();
  await accessible(page, 'no figures');
  await page.getByRole('link', { name: 'Keys' }).click();
  assert.equal(await page.getByLabel('Workspace').inputValue(), workspace, 'the workspace of the token');
  await page.getByRole('link', { name: 'secret plan' }).click();
  const area = page.getByRole('textbox', { name: 'Value as Text' });
  await until(async () => (await area.inputValue()) === 'for readers', 'it may read');
  await area.fill('changed');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.locator('.entry [role=alert]').getByText(/\w+/).waitFor();
  assert.equal(await (await all.call('GET', path)).text(), 'for readers', 'it may not write');
  await page.getByRole('button', { name: 'Revert' }).click();
  await page.getByLabel('Workspace').fill('11111111-2222-3333-4444-555555555555');
  await page.getByRole('button', { name: 'Show' }).click();
  await page.getByRole('heading', { name: 'Not for this token' }).waitFor();
  await page.getByRole('link', { name: 'Queues' }).click();
  await page.getByRole('heading', { name: /Not for this token|No queues yet/ }).waitFor();
  await page.getByRole('link', { name: 'Nodes' }).click();
  await page.getByRole('heading', { name: 'Figures are not for this token' }).waitFor();
  await page.context().close();
}

async function whole() {
  const page = await enter(token, '#/keys');
  await page.getByRole('button', { name: 'New key' }).click();
  await page.getByLabel('Key', { exact: true }).fill('by/token');
  await page.getByLabel('Value', { exact: true }).fill('x');
  await page.getByRole('button', { name: 'Make it' }).click();
  await page.getByRole('textbox', { name: 'Value as Text' }).waitFor();
  assert.equal(await api(port, token).text('by/token'), 'x');
  await page.context().close();
}

export async function signIn() {
  await check('sign in: a bad token is refused', refused);
  await check('sign in: a token is kept in memory alone', forgotten);
  await check('sign in: a narrow token sees and does what it may', narrow);
  await check('sign in: a whole token does all', whole);
}
