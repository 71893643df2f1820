// SPDX-License-Identifier: MIT
// npm json-rpc-2.0: over fetch against /rpc, and over one kept connection to the port of lines.
import assert from 'node:assert/strict';
import net from 'node:net';
import readline from 'node:readline';
import { JSONRPCClient, JSONRPCErrorException } from 'json-rpc-2.0';
import { check, failureOf, httpPort, linePort, until } from './checks.mjs';

/** As the README of the client has it. */
const overFetch = new JSONRPCClient((payload) =>
  fetch(`http://127.0.0.1:${httpPort}/rpc`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(payload),
  }).then((response) => {
    if (response.status === 200) {
      return response.text().then((text) => text && overFetch.receive(JSON.parse(text)));
    }
    return payload.id === undefined ? undefined : Promise.reject(new Error(response.statusText));
  }));

const socket = net.connect(linePort, '127.0.0.1');
const overLines = new JSONRPCClient((payload) => {
  socket.write(`${JSON.stringify(payload)}\n`);
});
readline.createInterface({ input: socket }).on('line', (line) => overLines.receive(JSON.parse(line)));

for (const [title, client] of [['fetch', overFetch], ['lines', overLines]]) {
  for (const type of ['memory', 'hdd']) {
    const at = { type, key: `json-rpc-2.0 ${title}` };
    await check(`${title}: Set, Get and Delete (${type})`, async () => {
      assert.equal(await client.request('Storage.Set', { ...at, value: 'žluť' }), true);
      assert.equal(await client.request('Storage.Get', at), 'žluť');
      assert.equal(await client.request('Storage.Delete', at), true);
      assert.equal(await client.request('Storage.Delete', at), false);
    });
    await check(`${title}: a missing key is the client's own kind of error (${type})`, async () => {
      const error = await failureOf(client.request('Storage.Get', at));
      assert.ok(error instanceof JSONRPCErrorException, String(error));
      assert.equal(error.code, -32001);
      assert.match(error.message, /^KEY_NOT_EXIST/);
    });
  }
  await check(`${title}: a notification is done`, async () => {
    const at = { type: 'memory', key: `json-rpc-2.0 noted ${title}` };
    client.notify('Storage.Set', { ...at, value: 'noted' });
    await until(() => client.request('Storage.Get', at), 'noted');
  });
  await check(`${title}: a batch`, async () => {
    const at = { type: 'memory', key: `json-rpc-2.0 batch ${title}` };
    const answers = await client.requestAdvanced([
      { jsonrpc: '2.0', id: 'one', method: 'Storage.Set', params: { ...at, value: '1' } },
      { jsonrpc: '2.0', id: 'two', method: 'Storage.Increment', params: at },
      { jsonrpc: '2.0', id: 'three', method: 'Storage.Nothing' },
    ]);
    const byId = new Map(answers.map((one) => [one.id, one]));
    assert.equal(answers.length, 3);
    assert.equal(byId.get('one').result, true);
    assert.equal(byId.get('two').result, 2);
    assert.equal(byId.get('three').error.code, -32601);
  });
}

await check('lines: requests sent before answers come are answered each', async () => {
  const numbers = Array.from({ length: 200 }, (_, at) => at);
  await Promise.all(numbers.map((at) =>
    overLines.request('Storage.Set', ['memory', `json-rpc-2.0 ${at}`, `${at}`])));
  const got = await Promise.all(numbers.map((at) =>
    overLines.request('Storage.Get', ['memory', `json-rpc-2.0 ${at}`])));
  assert.deepEqual(got, numbers.map(String));
});
socket.destroy();
