// SPDX-License-Identifier: MIT
// The docs page: it shows the server's document, and calls it with the token it was given.
import assert from 'node:assert/strict';
import { api, base, check, newPage, shot } from './browser.mjs';

const { CONSOLE_CLOSED: port, CONSOLE_TOKEN: token } = process.env;

async function calls() {
  const page = await newPage();
  await page.goto(base(port, '/docs'));
  const view = page.locator('rapi-doc');
  await view.getByText('/api2/{workspace}/{namespace}/{key}').first().waitFor();
  await shot(page, 'docs');
  const stats = async () => {
    await page.goto(base(port, '/docs#get-/stats'));
    const button = view.locator('#get-\\/stats, [id="get-/stats"]').getByRole('button', { name: 'TRY' }).or(view.getByRole('button', { name: 'TRY' })).first();
    const [answer] = await Promise.all([page.waitForResponse((one) => new URL(one.url()).pathname === '/stats'), button.click()]);
    return answer.status();
  };
  assert.equal(await stats(), 401, 'without a token');
  await page.goto(base(port, '/docs#auth'));
  await view.locator('input[placeholder="api-token"]').first().fill(token);
  await view.getByRole('button', { name: 'SET' }).first().click();
  assert.equal(await stats(), 200, 'with it');
  await shot(page, 'docs-call');
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  assert.ok(!kept.includes(token.slice(0, 40)), 'the token is nowhere but in memory');
  await page.context().close();
}

async function writes() {
  const open = process.env.CONSOLE_OPEN;
  const page = await newPage({ dark: true });
  await page.goto(base(open, '/docs#put-/api2/-workspace-/-namespace-/-key-'));
  const view = page.locator('rapi-doc');
  await view.locator('textarea').first().fill('written in the documentation');
  const button = view.getByRole('button', { name: 'TRY' }).first();
  const [answer] = await Promise.all([page.waitForResponse((one) => one.request().method() === 'PUT'), button.click()]);
  assert.equal(answer.status(), 204);
  assert.equal(await api(open).text('greeting'), 'written in the documentation');
  await shot(page, 'docs-dark');
  await page.context().close();
}

async function each() {
  const document_ = await (await api(port).call('GET', '/openapi.json')).json();
  const page = await newPage();
  await page.goto(base(port, '/docs'));
  const view = page.locator('rapi-doc');
  await view.getByText('/api2/{workspace}/{namespace}/{key}').first().waitFor();
  for (const [path, item] of Object.entries(document_.paths)) {
    for (const method of ['get', 'put', 'post', 'delete'].filter((one) => item[one])) {
      const id = `${method}-${path.replace(/[{}]/g, '-')}`;
      await page.evaluate((hash) => { location.hash = hash; }, id);
      await view.locator(`[id="${id}"] api-response`).first().waitFor({ state: 'attached' });
    }
  }
  await page.goto(base(port, '/docs#get-/broker/queues/-queue-'));
  await view.getByRole('button', { name: 'EXAMPLE' }).first().click();
  await view.getByText('"jobs"').first().waitFor();
  await page.context().close();
}

async function narrow() {
  const page = await newPage({ width: 360, height: 740 });
  await page.goto(base(process.env.CONSOLE_OPEN, '/docs'));
  const view = page.locator('rapi-doc');
  await view.getByText('/broker/routers/{router}', { exact: true }).first().click();
  await shot(page, 'docs-phone');
  const [answer] = await Promise.all([page.waitForResponse((one) => one.url().includes('/broker/routers/')), view.getByRole('button', { name: 'TRY' }).first().click()]);
  assert.ok([200, 201, 404].includes(answer.status()));
  await page.setViewportSize({ width: 1280, height: 860 });
  await view.locator('.nav-bar').waitFor();
  await page.context().close();
}

export async function docs() {
  await check('docs: on a phone', narrow);
  await check('docs: every operation is shown', each);
  await check('docs: it calls with the token it was given', calls);
  await check('docs: a value is written with it', writes);
}
