// SPDX-License-Identifier: MIT
// This node, its shards, and the other nodes it knows of.
import { blank, h, set } from './dom.js';
import { json } from './api.js';
import * as figures from './figures.js';
import { refused } from './overview.js';
import { bytes, count, latency, span } from './format.js';

const EVERY_MS = 5000;
const SHARDS = 64; // of /kv-store asked for

const facts = (pairs) => h('dl', { class: 'facts' }, pairs.filter(([, value]) => value !== undefined).map(([name, value]) => [h('dt', null, name), h('dd', null, value)]));

/** Keys of each shard as bars beside each other: an uneven one is seen at once. */
function shardBars(name, shards) {
  const most = Math.max(1, ...shards);
  return h('section', { class: 'card pad stack', 'aria-label': `Shards of ${name}` }, h('h2', null, `${name}, ${shards.length} ${shards.length === 1 ? 'shard' : 'shards'}`),
    h('ol', { class: 'bars' }, shards.map((keys, at) => {
      const bar = h('i', { 'aria-hidden': 'true' });
      bar.style.setProperty('--part', `${(100 * keys) / most}%`);
      return h('li', null, h('span', { class: 'muted' }, at + 1), bar, h('span', { class: 'num' }, `${count(keys)} keys`));
    })));
}

const metric = (rows, name, wanted = () => true) => rows?.filter((row) => row.name === name && wanted(row.labels)).reduce((sum, row) => (sum ?? 0) + row.value, undefined);

function process(stats, rows) {
  const heap = metric(rows, 'process_resident_memory_bytes');
  const cpu = metric(rows, 'process_cpu_seconds_total');
  const files = metric(rows, 'process_open_fds');
  return h('section', { class: 'card pad stack', 'aria-label': 'This node' }, h('h2', null, 'This node'), facts([['Version', stats.version], ['Uptime', span(stats.uptime)], ['Resident memory', heap === undefined ? undefined : bytes(heap)],
    ['Processor time', cpu === undefined ? undefined : span(cpu * 1000)], ['Open files', files === undefined ? undefined : count(files)],
    ...Object.entries(stats.connections ?? {}).map(([door, open]) => [`Connections, ${door}`, count(open)]), ['Tokens cached', stats.tokens && count(stats.tokens.cached)]]));
}

const words = (name) => name.replace(/_us$/, '').replaceAll('_', ' ').replace(/^rtt$/, 'round trip');
const title = (name) => words(name).replace(/^./, (letter) => letter.toUpperCase());

function cell(name, value) {
  if (value === null || value === undefined) return '–';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'number') return /_us$/.test(name) ? latency(value / 1e6) : count(value);
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

const isList = (value) => Array.isArray(value) && value.length > 0 && typeof value[0] === 'object';

function listOf(caption, list) {
  const heads = [...new Set(list.flatMap((row) => Object.keys(row)))];
  const number = (head) => list.every((row) => typeof row[head] === 'number');
  return h('div', { class: 'scroll', role: 'region', tabindex: 0, 'aria-label': caption }, h('table', null, h('caption', null, caption), h('thead', null, h('tr', null, heads.map((head) => h('th', { scope: 'col', class: number(head) ? 'num' : '' }, title(head))))),
    h('tbody', null, list.map((row) => h('tr', null, heads.map((head, at) => h(at ? 'td' : 'th', at ? { class: number(head) ? 'num' : '' } : { scope: 'row', class: 'mono' }, cell(head, row[head]))))))));
}

/** What else the server tells of itself and those around it: its peers, a database, and what is yet to come. */
function others(stats) {
  const known = new Set(['version', 'uptime', 'storage', 'connections', 'requests', 'broker', 'tokens']);
  return Object.entries(stats).filter(([name, value]) => !known.has(name) && value && typeof value === 'object').map(([name, value]) => {
    const all = Object.entries(value);
    const plain = all.filter(([, one]) => !isList(one));
    return h('section', { class: 'card', 'aria-label': title(name) }, all.filter(([, one]) => isList(one)).map(([key, list]) => listOf(key === 'nodes' ? title(name) : `${title(name)}, ${words(key)}`, list)),
      plain.length > 0 && h('div', { class: 'pad stack' }, plain.length === all.length && h('h2', null, title(name)), h('dl', { class: 'strip' }, plain.map(([key, one]) => h('div', null, h('dt', null, title(key)), h('dd', null, cell(key, one)))))));
  });
}

async function view() {
  const { shards } = await json('GET', 'kv-store/shards');
  return Promise.all(shards.slice(0, SHARDS).map((id) => json('GET', `kv-store/shards/${id}`)));
}

function viewTable(shards) {
  return h('section', { class: 'card' }, h('div', { class: 'scroll', role: 'region', tabindex: 0, 'aria-label': 'Shards of the view' }, h('table', null, h('caption', null, 'The view of /kv-store'), h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'Shard'), h('th', { scope: 'col', class: 'num' }, 'Keys'), h('th', { scope: 'col' }, 'Replicas'))),
    h('tbody', null, shards.map((shard) => h('tr', null, h('th', { scope: 'row' }, shard['shard-id']), h('td', { class: 'num' }, count(shard['key-count'])), h('td', { class: 'mono' }, shard.replicas.join(', '))))))));
}

export function nodes(main) {
  const own = h('div', { class: 'graphs' });
  const more = h('div', { class: 'stack' });
  const around = h('div', { class: 'stack' });
  let closed = false;
  let timer;
  set(main, h('div', { class: 'head' }, h('h1', null, 'Nodes and shards')), h('div', { class: 'stack' }, own, around, more));
  const end = figures.listen(({ stats, error, metrics }) => {
    if (!stats) {
      if (error) set(own, h('div', { class: 'card' }, refused(error)));
      return;
    }
    set(own, process(stats, metrics), h('div', { class: 'stack' }, ['hdd', 'memory'].filter((name) => stats.storage?.[name]?.shards?.length).map((name) => shardBars(name, stats.storage[name].shards))));
    set(more, others(stats));
  });
  const look = async () => {
    clearTimeout(timer);
    try {
      const shards = await view();
      if (!closed) set(around, viewTable(shards));
    } catch (error) {
      if (!closed) set(around, h('div', { class: 'card' }, blank('warn', 'The view cannot be read', error.message)));
    }
    if (!closed) timer = setTimeout(look, EVERY_MS);
  };
  look();
  return () => {
    closed = true;
    clearTimeout(timer);
    end();
  };
}
