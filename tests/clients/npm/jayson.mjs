// SPDX-License-Identifier: MIT
// npm jayson: its HTTP client against /rpc, its TCP client against the port of lines.
import assert from 'node:assert/strict';
import jayson from 'jayson/promise/index.js';
import { check, httpPort, linePort, until } from './checks.mjs';

const host = '127.0.0.1';
const clients = {
  http: jayson.Client.http({ host, port: httpPort, path: '/rpc' }),
  'http at /': jayson.Client.http({ host, port: httpPort, path: '/' }),
  'http, JSON-RPC 1.0': jayson.Client.http({ host, port: httpPort, path: '/rpc', version: 1 }),
  tcp: jayson.Client.tcp({ host, port: linePort }),
  'tcp, JSON-RPC 1.0': jayson.Client.tcp({ host, port: linePort, version: 1 }),
};

/** What version 1 wraps in an array is given here by name for both. */
const calls = (client, type, key) => {
  const one = client.options.version === 1;
  const named = (params) => (one ? [params] : params);
  return {
    set: (value) => client.request('Storage.Set', named({ type, key, value })),
    get: () => client.request('Storage.Get', named({ type, key })),
    del: () => client.request('Storage.Delete', named({ type, key })),
    one,
  };
};

for (const [title, client] of Object.entries(clients)) {
  for (const type of ['memory', 'hdd']) {
    const { set, get, del, one } = calls(client, type, `jayson ${title}`);
    await check(`${title}: Set and Get a value back (${type})`, async () => {
      assert.equal((await set('grün "1"\n\\')).result, true);
      assert.equal((await get()).result, 'grün "1"\n\\');
    });
    await check(`${title}: Delete tells whether it was there (${type})`, async () => {
      assert.equal((await del()).result, true);
      assert.equal((await del()).result, false);
    });
    await check(`${title}: a missing key is an error (${type})`, async () => {
      const { error, result } = await get();
      if (one) {
        assert.equal(error, 'KEY_NOT_EXIST');
        assert.equal(result, null);
      } else {
        assert.equal(error.code, -32001);
        assert.match(error.message, /^KEY_NOT_EXIST/);
        assert.equal(result, undefined);
      }
    });
  }
}

for (const title of ['http', 'tcp']) {
  const client = clients[title];
  const key = `jayson more ${title}`;
  await check(`${title}: parameters by position`, async () => {
    assert.equal((await client.request('Storage.Set', ['memory', key, 'by position'])).result, true);
    assert.equal((await client.request('Storage.Get', ['memory', key])).result, 'by position');
  });
  await check(`${title}: an unknown method`, async () => {
    assert.equal((await client.request('Storage.Nothing', [])).error.code, -32601);
  });
  await check(`${title}: a notification is done and not answered`, async () => {
    const sent = await client.request('Storage.Set', ['memory', key, 'notified'], null);
    assert.equal(sent, undefined);
    const get = async () => (await client.request('Storage.Get', ['memory', key])).result;
    await until(get, 'notified');
  });
  await check(`${title}: a batch with a notification and a failure in it`, async () => {
    const answers = await client.request([
      client.request('Storage.Set', ['memory', key, 'batched'], undefined, false),
      client.request('Storage.Set', ['memory', `${key} 2`, 'noted'], null, false),
      client.request('Storage.Get', ['memory', key], undefined, false),
      client.request('Storage.Get', ['memory', 'jayson absent'], undefined, false),
    ]);
    assert.equal(answers.length, 3);
    assert.deepEqual(answers.map((one) => one.result ?? one.error.code), [true, 'batched', -32001]);
    const noted = await client.request('Storage.Get', ['memory', `${key} 2`]);
    assert.equal(noted.result, 'noted');
  });
  await check(`${title}: one hundred requests at once`, async () => {
    const numbers = Array.from({ length: 100 }, (_, at) => at);
    await Promise.all(numbers.map((at) =>
      client.request('Storage.Set', ['memory', `${key} ${at}`, `value ${at}`])));
    const got = await Promise.all(numbers.map((at) =>
      client.request('Storage.Get', ['memory', `${key} ${at}`])));
    assert.deepEqual(got.map((one) => one.result), numbers.map((at) => `value ${at}`));
  });
}
