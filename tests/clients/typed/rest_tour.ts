// SPDX-License-Identifier: MIT
// README's tour over REST, with a client whose types were made from /openapi.json.
import assert from 'node:assert/strict';
import createClient from 'openapi-fetch';
import { check, httpPort } from './checks.mjs';
import type { components, paths } from './rest.js';

const client = createClient<paths>({ baseUrl: `http://127.0.0.1:${httpPort}` });
const raw = { bodySerializer: (body: unknown) => body as string };
const text = { parseAs: 'text' } as const;
const at = { namespace: 'typed tour', key: 'a/key with %, ü and a space' };
const md5 = (response: Response) => response.headers.get('ETag') ?? '';

await check('set and get', async () => {
  const set = await client.PUT('/api/{namespace}/{key}', {
    params: { path: at, query: { ttl: 60000 } }, body: 'hello world', ...raw,
  });
  assert.equal(set.response.status, 204);
  const got = await client.GET('/api/{namespace}/{key}', { params: { path: at }, ...text });
  assert.equal(got.data, 'hello world');
  assert.equal(md5(got.response), md5(set.response));
  assert.ok(Number(got.response.headers.get('Hati-Ttl')) > 0);
});

await check('conditions', async () => {
  const path = { ...at, key: 'lock' };
  const put = (header: { 'If-Match'?: string; 'If-None-Match'?: '*' }, body: string) =>
    client.PUT('/api/{namespace}/{key}', { params: { path, header }, body, ...raw });
  await client.DELETE('/api/{namespace}/{key}', { params: { path } });
  const made = await put({ 'If-None-Match': '*' }, '1');
  assert.equal(made.response.status, 201);
  const again = await put({ 'If-None-Match': '*' }, '1');
  assert.equal(again.response.status, 412);
  const code: components['schemas']['Code'] | undefined = again.error?.code;
  assert.equal(code, 'PRECONDITION_FAILED');
  assert.equal((await put({ 'If-Match': md5(made.response) }, '2')).response.status, 204);
  assert.equal((await put({ 'If-Match': md5(made.response) }, '3')).response.status, 412);
  const got = await client.GET('/api/{namespace}/{key}', { params: { path }, ...text });
  assert.equal(got.data, '2');
  const same = await client.GET('/api/{namespace}/{key}', {
    params: { path, header: { 'If-None-Match': md5(got.response) } }, ...text,
  });
  assert.equal(same.response.status, 304);
});

await check('a part of a value', async () => {
  const got = await client.GET('/api/{namespace}/{key}', {
    params: { path: at, header: { Range: 'bytes=6-' } }, ...text,
  });
  assert.equal(got.response.status, 206);
  assert.equal(got.data, 'world');
});

await check('count up', async () => {
  const path = { workspace: '11111111-2222-3333-4444-555555555555', namespace: at.namespace, key: 'n' };
  const add = () => client.POST('/api2/{workspace}/{namespace}/{key}', {
    params: { path, query: { op: 'incr', by: 20 } }, ...text,
  });
  const before = Number((await add()).data);
  assert.equal(Number((await add()).data), before + 20);
});

await check('list page by page', async () => {
  const keys: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await client.GET('/api/{namespace}', {
      params: { path: { namespace: at.namespace }, query: { limit: 1, ...(cursor ? { cursor } : {}) } },
    });
    assert.ok(page.data);
    for (const key of page.data.keys) keys.push(typeof key === 'string' ? key : key.key);
    cursor = page.data.cursor;
  } while (cursor);
  assert.deepEqual(keys, [at.key, 'lock', 'n']);
});

await check('a key that is not there', async () => {
  const got = await client.GET('/api/{namespace}/{key}', {
    params: { path: { ...at, key: 'nobody' } }, ...text,
  });
  assert.equal(got.response.status, 404);
  assert.equal(got.error?.code, 'KEY_NOT_EXIST');
});

await check('several changes in one transaction', async () => {
  const done = await client.POST('/api2/{workspace}/{namespace}', {
    params: { path: { workspace: '11111111-2222-3333-4444-555555555555', namespace: at.namespace } },
    body: { ops: [
      { op: 'set', key: 'batch', value: 'YQ==', encoding: 'base64', ttl: '1000' },
      { op: 'incr', key: 'n', by: 1 },
      { op: 'check', key: 'batch', absent: true },
    ] },
  });
  assert.equal(done.response.status, 412);
  assert.equal(done.error && 'index' in done.error ? done.error.index : -1, 2);
});

await check('publish, receive and acknowledge', async () => {
  const queue = 'typed-rest';
  const made = await client.PUT('/broker/queues/{queue}', {
    params: { path: { queue } }, body: { lease: 60000, 'max-deliver': 5 },
  });
  assert.equal(made.data?.['max-deliver'], 5);
  const sent = await client.POST('/broker/routers/{router}/messages', {
    params: { path: { router: 'default' }, query: { key: queue, headers: '{"by":"tour"}' } },
    body: 'resize cat.png', ...raw,
  });
  assert.equal(sent.response.status, 201, JSON.stringify(sent.error));
  assert.equal(sent.data?.queues, 1);
  const receive = () => client.POST('/broker/queues/{queue}/receive', {
    params: { path: { queue }, query: { wait: 5000, max: 10 } },
  });
  const first = (await receive()).data?.messages[0];
  assert.ok(first);
  assert.equal(first.payload, 'resize cat.png');
  assert.equal(first.headers['by'], 'tour');
  const path = { queue, receipt: first.receipt };
  const nacked = await client.POST('/broker/queues/{queue}/messages/{receipt}/nack', { params: { path } });
  assert.equal(nacked.response.status, 204);
  const second = (await receive()).data?.messages[0];
  assert.equal(second?.attempt, 2);
  const acked = await client.DELETE('/broker/queues/{queue}/messages/{receipt}', {
    params: { path: { queue, receipt: second?.receipt ?? '' } },
  });
  assert.equal(acked.response.status, 204);
  const late = await client.DELETE('/broker/queues/{queue}/messages/{receipt}', { params: { path } });
  assert.equal(late.error?.code, 'RECEIPT_INVALID');
  const state = await client.GET('/broker/queues/{queue}', { params: { path: { queue } } });
  assert.equal(state.data?.acked, 1);
});

await check('a router of topics', async () => {
  const router = 'typed-events';
  await client.PUT('/broker/routers/{router}', { params: { path: { router } }, body: { type: 'topic' } });
  const bound = await client.PUT('/broker/routers/{router}/bindings/{queue}', {
    params: { path: { router, queue: 'typed-rest' }, query: { pattern: 'order.*' } },
  });
  assert.equal(bound.response.status, 201);
  const got = await client.GET('/broker/routers/{router}', { params: { path: { router } } });
  assert.deepEqual(got.data?.bindings, [{ queue: 'typed-rest', pattern: 'order.*' }]);
});

await check('/kv-store with a causal context', async () => {
  const put = await client.PUT('/kv-store/keys/{key}', {
    params: { path: { key: 'typed' } }, body: { value: '1' },
  });
  const context = put.data?.['causal-context'];
  assert.ok(context);
  const got = await client.GET('/kv-store/keys/{key}', {
    params: { path: { key: 'typed' }, header: { 'Causal-Context': JSON.stringify(context) } },
  });
  assert.equal(got.data?.value, '1');
});

await check('figures', async () => {
  const stats = await client.GET('/stats');
  assert.ok((stats.data?.storage.hdd.keys ?? 0) > 0);
});
