// SPDX-License-Identifier: MIT
// README's tour over JSON-RPC: npm @open-rpc/client-js, with types made from /openrpc.json.
import assert from 'node:assert/strict';
import { Client, HTTPTransport, JSONRPCError, RequestManager } from '@open-rpc/client-js';
import { check, failureOf, httpPort } from './checks.mjs';
import type { components } from './rpc.js';

type Schemas = components['schemas'];
type Method = keyof Schemas extends infer Name ? (Name extends `method.${infer M}` ? M : never) : never;
type Params<M extends Method> = Schemas[`method.${M}`]['params'];
type Result<M extends Method> = Schemas[`method.${M}`]['result'];

const client = new Client(new RequestManager([new HTTPTransport(`http://127.0.0.1:${httpPort}/rpc`)]));

async function call<M extends Method>(method: M, params: Params<M>): Promise<Result<M>> {
  return client.request({ method, params: params as Record<string, unknown> });
}

await check('set and get', async () => {
  const at = { type: 'hdd', key: 'typed rpc' } as const;
  assert.equal(await call('Storage.Set', { ...at, value: 'hello world', ttl: '60000' }), true);
  assert.equal(await call('Storage.Get', at), 'hello world');
  const entry = await call('Storage.GetEntry', at);
  assert.ok(entry.ttl > 0 && entry.ttl <= 60000);
  assert.equal(await call('Storage.Has', at), true);
  const bytes = await call('Storage.Set', { ...at, value: '/w==', encoding: 'base64' });
  assert.equal(bytes, true);
  const value = await call('Storage.Get', at);
  assert.deepEqual(value, { value: '/w==', encoding: 'base64' });
  assert.equal(await call('Storage.Delete', { ...at, ifEtag: entry.etag }).catch(() => 'refused'), 'refused');
});

await check('conditions, and the error of the one that fails', async () => {
  const at = { type: 'memory', key: 'typed lock', value: '1', ifAbsent: true } as const;
  await call('Storage.Delete', { type: at.type, key: at.key });
  assert.equal(await call('Storage.Set', at), true);
  const error = await failureOf(call('Storage.Set', at));
  assert.ok(error instanceof JSONRPCError);
  assert.equal(error.code, -32003);
});

await check('many at once, a listing, a count, a number', async () => {
  const place = { type: 'memory', namespace: 'typed rpc' } as const;
  const set = await call('Storage.SetMany', { ...place, entries: { a: '1', b: { value: '2', ttl: 0 } } });
  assert.equal(set, 2);
  const values = await call('Storage.GetMany', { ...place, keys: ['a', 'b', 'c'] });
  assert.deepEqual(values, { a: '1', b: '2' });
  const page = await call('Storage.List', { ...place, limit: 1 });
  assert.deepEqual(page.keys, ['a']);
  const rest = await call('Storage.List', { ...place, cursor: page.cursor ?? '' });
  assert.deepEqual(rest.keys, ['b']);
  assert.equal(await call('Storage.Increment', { ...place, key: 'b', by: 40 }), 42);
  assert.ok(await call('Storage.Count', { type: 'memory' }) >= 2);
});

await check('a transaction over a key and a queue', async () => {
  await call('Broker.CreateQueue', { queue: 'typed-rpc', 'max-deliver': 3 });
  const done = await call('Storage.Batch', { ops: [
    { op: 'set', key: 'typed batch', value: '1' },
    { op: 'publish', router: 'default', 'routing-key': 'typed-rpc', payload: 'told' },
  ] });
  assert.equal(done.results.length, 2);
});

await check('publish, receive and acknowledge', async () => {
  const sent = await call('Broker.Publish', {
    router: 'default', key: 'typed-rpc', payload: 'resize cat.png', headers: { by: 'tour' },
  });
  assert.equal(sent.queues, 1);
  const { messages } = await call('Broker.Receive', { queue: 'typed-rpc', max: 2, wait: 5000 });
  assert.deepEqual(messages.map((message) => message.payload), ['told', 'resize cat.png']);
  assert.equal(messages[1]?.headers['by'], 'tour');
  const receipts = messages.map((message) => message.receipt);
  const acked = await call('Broker.AckMany', { queue: 'typed-rpc', receipts });
  assert.deepEqual(acked.results, [true, true]);
  assert.equal((await call('Broker.GetQueue', { queue: 'typed-rpc' })).acked, 2);
});

await check('what the server says of itself', async () => {
  assert.equal(await call('Server.Ping', {}), 'pong');
  const stats = await call('Server.Stats', {});
  assert.ok(stats.broker.queues >= 1);
  const document = await call('rpc.discover', {});
  assert.equal(document.openrpc, '1.3.2');
});
client.close();
