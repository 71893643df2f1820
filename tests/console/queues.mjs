// SPDX-License-Identifier: MIT
// Queues and routers: the picture, and everything that is done to them.
import assert from 'node:assert/strict';
import { accessible, api, base, check, newPage, shot, until } from './browser.mjs';

const port = process.env.CONSOLE_OPEN;
const { json } = api(port);
const dialog = (page) => page.getByRole('dialog');

async function open(hash = '', options = {}) {
  const page = await newPage(options);
  await page.goto(base(port, `/console#/queues${hash}`));
  await page.locator('h1').waitFor();
  return page;
}

async function empty() {
  const page = await open();
  await page.getByRole('heading', { name: 'No queues yet' }).waitFor();
  await accessible(page, 'no queues');
  await shot(page, 'queues-none');
  await page.context().close();
}

async function makes() {
  const page = await open();
  for (const [name, more] of [['jobs.dead', {}], ['jobs', { 'Deliveries at most': '1', 'Dead letters go to': 'jobs.dead' }], ['mail', { Storage: 'memory', Lease: '5s' }]]) {
    await page.keyboard.press('c');
    await dialog(page).getByLabel('Name').fill(name);
    for (const [label, value] of Object.entries(more)) {
      const control = dialog(page).getByLabel(label);
      if (/Storage|letters/.test(label)) await control.selectOption(value);
      else await control.fill(value);
    }
    await dialog(page).getByRole('button', { name: 'Make it' }).click();
    await page.getByRole('row', { name: new RegExp(`^${name.replace('.', '\\.')} `) }).waitFor();
  }
  const jobs = await json('GET', '/broker/queues/jobs');
  assert.deepEqual([jobs['max-deliver'], jobs['dead-letter']], [1, 'jobs.dead']);
  assert.deepEqual(await json('GET', '/broker/queues/mail').then((one) => [one.type, one.lease]), ['memory', 5000]);
  await page.getByRole('button', { name: 'New router' }).click();
  await dialog(page).getByLabel('Name').fill('events');
  await accessible(page, 'new router');
  await dialog(page).getByRole('button', { name: 'Make it' }).click();
  await page.getByRole('row', { name: /^events topic/ }).getByRole('link').click();
  await page.getByRole('heading', { name: 'Nothing is bound to it' }).waitFor();
  for (const [queue, pattern] of [['jobs', 'orders.#'], ['mail', 'orders.*.paid']]) {
    await page.getByRole('button', { name: 'Bind a queue' }).click();
    await dialog(page).getByLabel('Queue').selectOption(queue);
    await dialog(page).getByLabel('Pattern').fill(pattern);
    await dialog(page).getByRole('button', { name: 'Bind' }).click();
    await page.getByRole('cell', { name: pattern }).waitFor();
  }
  await page.context().close();
}

async function picture() {
  const page = await open();
  const graph = page.getByRole('group', { name: /Routers, their bindings/ });
  await graph.getByRole('link', { name: /queue jobs\b/ }).first().waitFor();
  await until(async () => (await graph.locator('path.bind').count()) === 2, 'two bindings');
  assert.equal(await graph.locator('path.dead').count(), 1, 'dead letters of jobs');
  assert.deepEqual((await graph.locator('.pattern').allTextContents()).sort(), ['orders.#', 'orders.*.paid']);
  assert.equal(await graph.locator('a.router').count(), 1, 'the router default has no binding of its own');
  await json('POST', '/broker/routers/events/messages?key=orders.7.paid', { order: 7 });
  await graph.locator('.sub', { hasText: '1 ready · 0 leased' }).first().waitFor();
  await accessible(page, 'queues');
  await shot(page, 'queues');
  await page.keyboard.press('/');
  await page.keyboard.type('dead');
  await until(async () => (await page.getByRole('row', { name: /^(jobs|mail)/ }).allTextContents()).length === 1, 'filtered');
  await page.getByRole('searchbox').fill('');
  await graph.getByRole('link', { name: /queue mail/ }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'mail' }).waitFor();
  for (const [name, options] of [['queues-dark', { dark: true }], ['queues-phone', { width: 360, height: 740 }]]) {
    const other = await open('', options);
    await other.locator('path.bind').first().waitFor({ state: 'attached' });
    await shot(other, name);
    await other.context().close();
  }
  await page.context().close();
}

async function publishes() {
  const page = await open();
  await page.getByRole('row', { name: /^mail / }).waitFor();
  await page.getByRole('button', { name: 'Publish' }).click();
  await dialog(page).getByLabel('Router').selectOption('events');
  await dialog(page).getByLabel('Routing key').fill('orders.8.paid');
  await dialog(page).getByLabel('Payload').fill('<b>not bold</b>');
  await dialog(page).getByLabel('Headers, a JSON object').fill('{"trace":"abc"}');
  await dialog(page).getByRole('button', { name: 'Publish' }).click();
  await page.getByText('Published to 2 queues').first().waitFor();
  await page.getByRole('button', { name: 'Publish' }).click();
  await dialog(page).getByLabel('Router').selectOption('events');
  await dialog(page).getByLabel('Routing key').fill('nobody');
  await dialog(page).getByRole('button', { name: 'Publish' }).click();
  await page.getByText('it reached no queue').first().waitFor();
  await page.getByRole('row', { name: /^jobs / }).getByRole('link').click();
  await page.getByRole('button', { name: 'Peek' }).click();
  await page.getByRole('cell', { name: '<b>not bold</b>' }).waitFor();
  await page.getByText('{"trace":"abc"}').waitFor();
  assert.deepEqual(await json('GET', '/broker/queues/jobs').then((one) => [one.ready, one.delivered]), [2, 0], 'nothing was taken');
  await page.locator('path.line').first().waitFor({ state: 'attached' });
  await accessible(page, 'queue');
  await shot(page, 'queue');
  await page.context().close();
}

async function redrives() {
  for (let at = 0; at < 2; at += 1) {
    const { messages } = await json('POST', '/broker/queues/jobs/receive?max=10');
    for (const { receipt } of messages) await json('POST', `/broker/queues/jobs/messages/${receipt}/nack`);
  }
  await until(async () => (await json('GET', '/broker/queues/jobs.dead')).ready === 2, 'dead letters');
  const page = await open('/queue/jobs.dead');
  await page.locator('.figure', { hasText: '2' }).waitFor();
  await page.getByRole('button', { name: 'Redrive' }).click();
  await dialog(page).getByRole('button', { name: 'Cancel' }).click();
  assert.equal((await json('GET', '/broker/queues/jobs.dead')).ready, 2);
  await page.getByRole('button', { name: 'Redrive' }).click();
  await dialog(page).getByRole('button', { name: 'Redrive' }).click();
  await page.getByText('2 messages went back').first().waitFor();
  assert.equal((await json('GET', '/broker/queues/jobs')).ready, 2);
  await page.context().close();
}

async function purges() {
  const page = await open('/queue/jobs');
  await page.locator('.figure', { hasText: '2' }).waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Resume' }).waitFor();
  assert.equal((await json('GET', '/broker/queues/jobs')).paused, true);
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByRole('button', { name: 'Pause' }).waitFor();
  await page.getByRole('button', { name: 'Purge…' }).click();
  const go = dialog(page).getByRole('button', { name: 'Purge' });
  assert.ok(await go.isDisabled(), 'the name has to be typed');
  await dialog(page).getByRole('textbox').fill('job');
  assert.ok(await go.isDisabled(), 'all of it');
  await dialog(page).getByRole('textbox').fill('jobs');
  await accessible(page, 'purge');
  await shot(page, 'queue-purge');
  await go.click();
  await page.getByText('2 messages dropped').first().waitFor();
  assert.equal((await json('GET', '/broker/queues/jobs')).ready, 0);
  await page.context().close();
}

async function unmakes() {
  const page = await open('/router/events');
  await page.getByRole('button', { name: 'Unbind mail' }).click();
  await dialog(page).getByRole('button', { name: 'Unbind' }).click();
  await page.getByText('Unbound').first().waitFor();
  await until(async () => (await json('GET', '/broker/routers/events')).bindings.length === 1, 'one is left');
  await page.getByRole('button', { name: 'Delete…' }).click();
  await dialog(page).getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('heading', { name: 'Queues', exact: true }).waitFor();
  await page.getByRole('row', { name: /^mail / }).getByRole('link').click();
  await page.getByRole('heading', { name: 'mail' }).waitFor();
  await page.locator('.figure', { hasText: /\d/ }).waitFor();
  await page.getByRole('button', { name: 'Delete…' }).click();
  await dialog(page).getByRole('textbox').fill('mail');
  await dialog(page).getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('heading', { name: 'Queues', exact: true }).waitFor();
  assert.deepEqual((await json('GET', '/broker/queues')).queues, ['jobs', 'jobs.dead']);
  await page.goto(base(port, '/console#/queues/queue/mail'));
  await page.getByRole('heading', { name: 'It is not there' }).waitFor();
  await page.context().close();
}

async function names() {
  const long = 'q'.repeat(255);
  const { call } = api(port);
  for (const name of [long, 'a\u202eb']) await json('PUT', `/broker/queues/${encodeURIComponent(name)}`, { type: 'memory' });
  const page = await newPage();
  await page.goto(base(port, '/console#/queues'));
  const row = page.getByRole('row', { name: long });
  await row.waitFor();
  const box = await row.getByRole('cell').last().boundingBox();
  assert.ok(box.x + box.width <= 1280, 'a long name leaves room for the figures');
  await page.getByRole('link', { name: 'a\\u202eb' }).last().click();
  await page.getByRole('heading', { name: 'a\\u202eb' }).waitFor();
  for (const name of [long, 'a\u202eb']) await call('DELETE', `/broker/queues/${encodeURIComponent(name)}`);
  await page.context().close();
}

export async function queues() {
  await check('queues: names that are long, or turn round', names);
  await check('queues: none yet', empty);
  await check('queues: queues, a router and bindings are made', makes);
  await check('queues: they are drawn', picture);
  await check('queues: publish and peek', publishes);
  await check('queues: redrive', redrives);
  await check('queues: pause, and purge when confirmed', purges);
  await check('queues: unbind and delete', unmakes);
}
