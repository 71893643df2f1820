// SPDX-License-Identifier: MIT
// Keys: pages, search, expiry, the editor and its conflicts, all by keyboard too.
import assert from 'node:assert/strict';
import { accessible, api, base, check, newPage, shot, until } from './browser.mjs';

const port = process.env.CONSOLE_OPEN;
const { get, put, remove, text } = api(port);
const BIG = '{"n":12345678901234567890,"x":1.0,"u":"\\u00e9","a":[1,{"b":null}],"e":{}}';

async function open(query = '', options = {}) {
  const page = await newPage(options);
  if (options.clock) await page.clock.install();
  await page.goto(base(port, `/console#/keys${query}`));
  await page.getByRole('heading', { name: 'Keys', exact: true }).waitFor();
  return page;
}

const area = (page, name) => page.getByRole('textbox', { name: `Value as ${name}` });
const tab = (page, name) => page.getByRole('tab', { name });
const save = async (page) => {
  const button = page.getByRole('button', { name: 'Save' });
  const [answer] = await Promise.all([page.waitForResponse((one) => one.request().method() === 'PUT'), button.click()]);
  assert.equal(answer.status(), 204);
  await until(() => button.isDisabled(), 'saved');
};
const links = (page) => page.locator('table.keys tbody a').allInnerTexts();

async function pages() {
  await Promise.all(Array.from({ length: 120 }, (_, at) => put(`p/${String(at).padStart(3, '0')}`, 'x')));
  const page = await open('?prefix=p/');
  await page.getByRole('link', { name: 'p/000' }).waitFor();
  assert.deepEqual([(await links(page)).length, (await links(page))[49]], [50, 'p/049']);
  assert.ok(await page.getByRole('button', { name: 'Previous' }).isDisabled());
  await page.getByRole('button', { name: 'Next' }).click();
  await page.getByText('51 to 100').waitFor();
  await page.getByRole('button', { name: 'Next' }).click();
  await page.getByText('101 to 120').waitFor();
  assert.ok(await page.getByRole('button', { name: 'Next' }).isDisabled());
  assert.deepEqual([(await links(page)).length, (await links(page))[19]], [20, 'p/119']);
  await page.getByRole('button', { name: 'Previous' }).click();
  await page.getByText('51 to 100').waitFor();
  await page.getByLabel('Prefix').fill('p/11');
  await page.getByRole('button', { name: 'Show' }).click();
  await until(async () => (await links(page)).length === 10, 'ten keys');
  await page.getByLabel('Prefix').fill('');
  await page.getByLabel('Contains').fill('/07');
  await page.getByRole('button', { name: 'Show' }).click();
  await until(async () => (await links(page)).join() === Array.from({ length: 10 }, (_, at) => `p/07${at}`).join(), 'what was searched');
  assert.equal(await page.locator('table.keys mark').first().innerText(), '/07');
  await page.getByLabel('Contains').fill('no such thing');
  await page.getByRole('button', { name: 'Show' }).click();
  await page.getByRole('heading', { name: 'No key has this in its name' }).waitFor();
  await shot(page, 'keys-none');
  await page.context().close();
}

async function places() {
  await put('only/here', 'm', {}, '?type=memory', 'elsewhere');
  const page = await open();
  await page.getByLabel('Namespace').fill('elsewhere');
  await page.getByRole('button', { name: 'Show' }).click();
  await page.getByRole('heading', { name: 'No keys here' }).waitFor();
  await page.getByText('memory', { exact: true }).click();
  await page.getByRole('link', { name: 'only/here' }).click();
  await area(page, 'Text').waitFor();
  await area(page, 'Text').fill('edited there');
  await save(page);
  assert.equal(await (await get('only/here', 'elsewhere', '?type=memory')).text(), 'edited there');
  await page.reload();
  await until(async () => (await area(page, 'Text').inputValue()) === 'edited there', 'the place is in the address');
  await page.getByLabel('Workspace').fill('no uuid');
  await page.getByRole('button', { name: 'Show' }).click();
  await page.getByRole('heading', { name: 'That is no place for keys' }).waitFor();
  await page.context().close();
}

async function expiry() {
  await put('ttl/long', 'x', {}, '?ttl=95000');
  await put('ttl/short', 'x', {}, '?ttl=2500');
  await put('ttl/none', 'x');
  const page = await open('/ttl%2Flong?prefix=ttl/');
  const cell = (key) => page.locator(`tr[data-key="${key}"] [data-ttl]`);
  await until(async () => /^1 m \d\d s$/.test(await cell('ttl/long').innerText()), 'a span');
  const first = await cell('ttl/long').innerText();
  assert.equal(await cell('ttl/none').innerText(), '–');
  const left = page.locator('.entry dl.facts dd').last();
  assert.match(await left.innerText(), /^in 1 m/);
  await until(async () => (await cell('ttl/long').innerText()) !== first, 'it counts down');
  await until(async () => (await cell('ttl/short').allInnerTexts()).every((word) => word === 'gone'), 'it is gone');
  await area(page, 'Text').fill('y');
  await save(page);
  const kept = Number((await get('ttl/long')).headers.get('Hati-Ttl'));
  assert.ok(kept > 60000 && kept < 95000, `the time left is kept: ${kept}`);
  await page.getByLabel('Expires').selectOption('After…');
  await page.getByLabel('Time to live').fill('soon');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('alert').getByText(/A time is a number/).waitFor();
  await page.getByLabel('Time to live').fill('2h');
  await save(page);
  assert.ok(Number((await get('ttl/long')).headers.get('Hati-Ttl')) > 7100000, 'two hours');
  await page.getByLabel('Expires').selectOption('Never');
  await save(page);
  assert.equal((await get('ttl/long')).headers.get('Hati-Ttl'), null);
  await page.context().close();
}

async function forms() {
  const bytes = Uint8Array.from({ length: 300 }, (_, at) => at % 256);
  await put('e/json', BIG, { 'Content-Type': 'application/json' });
  await put('e/bin', bytes);
  await put('e/crlf', 'a\r\nb\r\n', { 'Content-Type': 'text/plain' });
  await put('e/mixed', 'a\r\nb\n');
  await put('e/empty', '');
  const page = await open('/e%2Fjson?prefix=e/');
  await until(async () => (await area(page, 'JSON').inputValue()).includes('"n": 12345678901234567890,\n  "x": 1.0,'), 'laid out, digit by digit');
  await tab(page, 'Hex').click();
  assert.match(await area(page, 'Hex').inputValue(), /^7b 22 6e 22/);
  await tab(page, 'JSON').click();
  await area(page, 'JSON').fill('{"n": 1,');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('alert').getByText(/Not JSON/).waitFor();
  await area(page, 'JSON').fill('{\n  "n": 98765432109876543210,\n  "ok": true\n}');
  await save(page);
  assert.equal(await text('e/json'), '{"n":98765432109876543210,"ok":true}', 'compact as it was');
  assert.equal((await get('e/json')).headers.get('Content-Type'), 'application/json');
  await page.getByRole('link', { name: 'e/bin' }).click();
  await area(page, 'Hex').waitFor();
  assert.ok(await tab(page, 'Text').isDisabled(), 'it is no text');
  const hex = await area(page, 'Hex').inputValue();
  await area(page, 'Hex').fill(hex.replace(/^00 01/, 'ff FE'));
  await shot(page, 'keys-hex');
  await save(page);
  const got = new Uint8Array(await (await get('e/bin')).arrayBuffer());
  assert.deepEqual([...got], [0xff, 0xfe, ...bytes.slice(2)]);
  await area(page, 'Hex').fill('0');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('alert').getByText(/two hex digits/).waitFor();
  await page.getByRole('button', { name: 'Revert' }).click();
  await page.getByRole('link', { name: 'e/crlf' }).click();
  await until(async () => (await area(page, 'Text').inputValue()) === 'a\nb\n', 'text');
  await area(page, 'Text').fill('a\nb\nc\n');
  await save(page);
  assert.equal(await text('e/crlf'), 'a\r\nb\r\nc\r\n');
  await page.getByRole('link', { name: 'e/mixed' }).click();
  await page.getByText('Shown to read only').waitFor();
  await page.getByRole('link', { name: 'e/empty' }).click();
  await until(async () => (await page.locator('#entry-title').innerText()) === 'e/empty' && (await area(page, 'Text').inputValue()) === '', 'empty');
  await area(page, 'Text').fill('no more');
  await save(page);
  assert.equal(await text('e/empty'), 'no more');
  await page.context().close();
}

async function large() {
  const value = 'x'.repeat(1500000);
  await put('l/large', value);
  const page = await open('/l%2Flarge?prefix=l/');
  await page.getByText('The first 1.0 MiB of 1.4 MiB').waitFor();
  assert.ok(await page.getByRole('button', { name: 'Save' }).isDisabled());
  await page.getByRole('button', { name: 'Read all of it' }).click();
  await until(async () => (await area(page, 'Text').inputValue()).length === value.length, 'all of it');
  await page.context().close();
}

async function conflicts() {
  await put('c/one', 'first\nshared\n');
  const page = await open('/c%2Fone?prefix=c/');
  const begin = async (mine, theirs) => {
    await area(page, 'Text').fill(mine);
    if (theirs === null) await remove('c/one');
    else await put('c/one', theirs);
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('dialog').waitFor();
  };
  await area(page, 'Text').waitFor();
  await begin('mine\nshared\n', 'theirs\nshared\n');
  assert.match(await page.getByRole('region', { name: 'Yours' }).innerText(), /mine/);
  assert.match(await page.getByRole('region', { name: 'On the server now' }).innerText(), /theirs/);
  assert.deepEqual(await page.locator('.version mark').allInnerTexts().then((all) => all.map((one) => one.trim())), ['mine', 'theirs']);
  assert.equal(await text('c/one'), 'theirs\nshared\n', 'nothing is written yet');
  await accessible(page, 'conflict');
  await shot(page, 'keys-conflict');
  await page.getByRole('button', { name: 'Go on editing' }).click();
  assert.equal(await area(page, 'Text').inputValue(), 'mine\nshared\n');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('button', { name: 'Write mine over it' }).click();
  await page.getByText('Saved').first().waitFor();
  assert.equal(await text('c/one'), 'mine\nshared\n');
  await begin('again', 'other');
  await page.getByRole('button', { name: 'Take the server’s' }).click();
  await until(async () => (await area(page, 'Text').inputValue()) === 'other', 'theirs');
  assert.equal(await text('c/one'), 'other');
  await begin('back', null);
  await page.getByRole('heading', { name: 'Somebody else deleted this key' }).waitFor();
  await page.getByRole('button', { name: 'Write mine anew' }).click();
  await until(async () => (await text('c/one')) === 'back', 'written anew');
  await page.context().close();
}

async function seenElsewhere() {
  await put('w/one', 'first');
  const page = await open('/w%2Fone?prefix=w/', { clock: true });
  await until(async () => (await area(page, 'Text').inputValue()) === 'first', 'first');
  await page.getByText('live', { exact: true }).waitFor();
  let lists = 0;
  page.on('request', (request) => { if (request.url().includes('limit=')) lists += 1; });
  await page.clock.fastForward(20000);
  await page.evaluate(() => fetch('status')); // a poll would have been asked before this
  assert.equal(lists, 0, 'while nothing changes, nothing is asked');
  await put('w/one', 'second');
  await put('w/two', 'new');
  await until(async () => (await area(page, 'Text').inputValue()) === 'second', 'the change is shown');
  await page.getByRole('link', { name: 'w/two' }).waitFor();
  await area(page, 'Text').fill('mine');
  await put('w/one', 'third');
  await page.getByText('It has been changed on the server while you edit it').waitFor();
  assert.equal(await area(page, 'Text').inputValue(), 'mine', 'what is edited stays');
  await page.context().close();
}

async function names() {
  const raw = await fetch(base(port, '/api2/11111111-2222-3333-4444-555555555555/default/raw%FF%FE'), { method: 'PUT', body: 'odd name' });
  assert.ok(raw.ok, 'a key that is no UTF-8');
  const page = await open('?prefix=raw');
  await page.getByRole('link', { name: /^base64 / }).click();
  await until(async () => (await area(page, 'Text').inputValue()) === 'odd name', 'it is read');
  await area(page, 'Text').fill('still odd');
  await save(page);
  assert.equal(await (await fetch(base(port, '/api2/11111111-2222-3333-4444-555555555555/default/raw%FF%FE'))).text(), 'still odd');
  await page.context().close();
}

async function deletes() {
  await put('d/one', 'x');
  await put('d/two', 'x');
  const page = await open('/d%2Fone?prefix=d/');
  await page.getByRole('button', { name: 'Delete…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  assert.equal((await get('d/one')).status, 200, 'not yet');
  await page.getByRole('button', { name: 'Delete…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByText('Deleted').first().waitFor();
  assert.equal((await get('d/one')).status, 404);
  await until(async () => (await links(page)).join() === 'd/two', 'the list');
  await page.getByRole('link', { name: 'd/two' }).click();
  await area(page, 'Text').waitFor();
  await page.getByRole('button', { name: 'Delete…' }).click();
  await put('d/two', 'changed');
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByText('was not deleted').first().waitFor();
  assert.equal(await text('d/two'), 'changed');
  await page.context().close();
}

async function makes() {
  const page = await open('?prefix=n/');
  await page.getByRole('heading', { name: 'No keys here' }).waitFor();
  await page.keyboard.press('c');
  await page.getByLabel('Key', { exact: true }).fill('n/a b/ü?#%');
  await page.getByLabel('Value', { exact: true }).fill('new');
  await accessible(page, 'new key');
  await page.getByRole('button', { name: 'Make it' }).click();
  await until(async () => (await area(page, 'Text').inputValue().catch(() => '')) === 'new', 'it is open');
  assert.equal(await text('n/a b/ü?#%'), 'new');
  await page.reload();
  await until(async () => (await area(page, 'Text').inputValue().catch(() => '')) === 'new', 'its name is in the address');
  await page.getByRole('button', { name: 'New key' }).click();
  await page.getByLabel('Key', { exact: true }).fill('n/a b/ü?#%');
  await page.getByRole('button', { name: 'Make it' }).click();
  await page.getByText('A key of this name is there already').waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await text('n/a b/ü?#%'), 'new');
  await page.context().close();
}

async function dots() {
  const rpc = await fetch(base(port, '/rpc'), { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'Storage.SetMany', params: { type: 'hdd', entries: { '..': 'up', '../up': 'x', 'a//b': 'y' }, namespace: 'dots' } }) });
  assert.equal((await rpc.json()).result, 3);
  const page = await open('?namespace=dots');
  await page.getByRole('link', { name: '..', exact: true }).click();
  await page.getByText('it stands for a folder').waitFor();
  for (const [key, value] of [['../up', 'x'], ['a//b', 'y']]) {
    await page.getByRole('link', { name: key, exact: true }).click();
    await until(async () => (await area(page, 'Text').inputValue().catch(() => '')) === value, key);
  }
  await page.context().close();
}

async function hostile() {
  const evil = '<img src=x onerror="alert(1)"><script>alert(2)</script>';
  await put(`h/${evil}`, evil, { 'Content-Type': 'text/html' });
  await put('h/"quoted"\u202ename', '{"a":"</textarea><script>alert(3)</script>"}');
  const page = await open('?prefix=h/');
  await page.getByRole('link', { name: `h/${evil}` }).click();
  await until(async () => (await area(page, 'Text').inputValue()) === evil, 'text');
  assert.equal(await page.locator('main img, main script').count(), 0);
  await page.getByRole('link', { name: 'h/"quoted"\\u202ename' }).click();
  await area(page, 'JSON').waitFor();
  await page.context().close();
}

async function byKeyboard() {
  await put('kb/one', 'one');
  await put('kb/two', 'two');
  const page = await open('', {});
  await page.goto(base(port, '/console'));
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  const press = (...all) => all.reduce((before, one) => before.then(() => page.keyboard.press(one)), Promise.resolve());
  await press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'skip', 'the first stop');
  await press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  await press('g', 'k');
  await page.getByRole('heading', { name: 'Keys', exact: true }).waitFor();
  await page.locator('[data-search]').waitFor();
  await press('/');
  assert.equal(await page.evaluate(() => document.activeElement.type), 'search');
  await press('Shift+Tab');
  await page.keyboard.type('kb/');
  await press('Enter');
  await page.getByRole('link', { name: 'kb/one' }).waitFor();
  await page.getByRole('link', { name: 'kb/one' }).focus();
  await press('ArrowDown');
  assert.equal(await page.evaluate(() => document.activeElement.innerText), 'kb/two');
  const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(ring, 'none', 'the focus is seen');
  await press('Enter');
  await area(page, 'Text').waitFor();
  for (let at = 0; at < 30 && !(await area(page, 'Text').evaluate((one) => one === document.activeElement)); at += 1) await press('Tab');
  await press('Control+a');
  await page.keyboard.type('typed');
  await press('Control+Enter');
  await page.getByText('Saved').first().waitFor();
  assert.equal(await text('kb/two'), 'typed');
  await area(page, 'Text').press('Escape');
  await press('?');
  await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
  await accessible(page, 'keyboard help');
  await press('Escape');
  assert.equal(await page.getByRole('dialog').count(), 0);
  const seen = new Set(); // no trap: Tab goes all the way round
  for (let at = 0; at < 60; at += 1) {
    await press('Tab');
    seen.add(await page.evaluate(() => document.activeElement.id || document.activeElement.textContent.slice(0, 30) || document.activeElement.tagName));
  }
  assert.ok(seen.has('skip') && [...seen].some((one) => one.includes('Delete')), [...seen].join(', '));
  await page.context().close();
}

async function looks() {
  await put('user/ada', '{"name":"Ada","born":1815,"fields":["mathematics","computing"]}', { 'Content-Type': 'application/json' }, '?ttl=5400000');
  for (const [name, options] of [['keys', {}], ['keys-dark', { dark: true }], ['keys-phone', { width: 360, height: 740 }]]) {
    const page = await open('/user%2Fada', options);
    await area(page, 'JSON').waitFor();
    if (!options.width) await accessible(page, name); // the frame's check has phones
    await shot(page, name);
    await page.context().close();
  }
}

export async function keys() {
  await check('keys: pages, prefixes, search', pages);
  await check('keys: workspace, namespace, storage', places);
  await check('keys: expiry counts down, is kept and set', expiry);
  await check('keys: text, JSON and hex', forms);
  await check('keys: a large value is read in part', large);
  await check('keys: two who write at once see both versions', conflicts);
  await check('keys: what others change is shown', seenElsewhere);
  await check('keys: a name that is no text', names);
  await check('keys: deleted when confirmed, and not when changed', deletes);
  await check('keys: a new one, and not over an old one', makes);
  await check('keys: dots and slashes', dots);
  await check('keys: what they hold is never run', hostile);
  await check('keys: by keyboard alone', byKeyboard);
  await check('keys: their looks', looks);
}
