// SPDX-License-Identifier: MIT
// npm @open-rpc/client-js over its HTTP transport.
import assert from 'node:assert/strict';
import { Client, HTTPTransport, JSONRPCError, RequestManager } from '@open-rpc/client-js';
import { check, failureOf, httpPort } from './checks.mjs';

const client = new Client(new RequestManager([new HTTPTransport(`http://127.0.0.1:${httpPort}/rpc`)]));
const call = (method, params) => client.request({ method, params });

for (const type of ['memory', 'hdd']) {
  const at = { type, key: 'open-rpc' };
  await check(`Set, Get and Delete (${type})`, async () => {
    assert.equal(await call('Storage.Set', { ...at, value: 'naïve' }), true);
    assert.equal(await call('Storage.Get', at), 'naïve');
    assert.equal(await call('Storage.Delete', at), true);
  });
  await check(`a missing key is the client's own kind of error (${type})`, async () => {
    const error = await failureOf(call('Storage.Get', at));
    assert.ok(error instanceof JSONRPCError, String(error));
    assert.equal(error.code, -32001);
    assert.match(error.message, /^KEY_NOT_EXIST/);
  });
}

await check('parameters by position', async () => {
  assert.equal(await call('Storage.Set', ['memory', 'open-rpc', 'by position']), true);
  assert.equal(await call('Storage.Get', ['memory', 'open-rpc']), 'by position');
});

await check('a notification is done and resolves', async () => {
  await client.notify({ method: 'Storage.Set', params: ['memory', 'open-rpc', 'noted'] });
  assert.equal(await call('Storage.Get', ['memory', 'open-rpc']), 'noted');
});

await check('a batch with a failure in it', async () => {
  client.startBatch();
  const answers = Promise.allSettled([
    call('Storage.Set', ['memory', 'open-rpc batch', '41']),
    call('Storage.Increment', ['memory', 'open-rpc batch']),
    call('Storage.Get', ['memory', 'open-rpc absent']),
  ]);
  await new Promise(setImmediate); // each call joins the batch when it has the client's connection
  client.stopBatch();
  const [set, incremented, absent] = await answers;
  assert.equal(set.value, true);
  assert.equal(incremented.value, 42);
  assert.equal(absent.reason.code, -32001);
});
client.close();
