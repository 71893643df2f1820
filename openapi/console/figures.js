// SPDX-License-Identifier: MIT
// What /stats and /metrics say every two seconds, kept for ten minutes. Rates and quantiles are of
// what came between two looks.
import { call, json } from './api.js';

const EVERY_MS = 2000;
const KEPT = 300;
// What asks about the server, this page too, is not what the server is there for.
const ABOUT = new Set(['metrics', 'Server.Stats', 'console', 'document', 'probe', 'preflight']);
// These take as long as their callers ask them to.
const WAITS = new Set(['Broker.Receive', 'stream', 'session', 'watch']);

const listeners = new Set();
let timer = 0;
let before = null;
let round = 0;
export const state = { samples: [], stats: null, error: null, ready: true, operations: [], metrics: null };

/** `name{a="b"} 1` lines: [{name, labels, value}]. */
export function parse(text) {
  const rows = [];
  for (const line of text.split('\n')) {
    if (line === '' || line[0] === '#') continue;
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, label, value] of (match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[label] = value.replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c));
    rows.push({ name: match[1], labels, value: Number(match[3]) });
  }
  return rows;
}

/** Counters by operation: how many, how many failed, by door, and buckets of their times. */
function gather(rows) {
  const operations = new Map();
  const at = (name) => {
    if (!operations.has(name)) operations.set(name, { total: 0, failed: 0, doors: new Map(), buckets: new Map() });
    return operations.get(name);
  };
  let ready = true;
  for (const { name, labels, value } of rows) {
    if (name === 'hati_requests_total') {
      const one = at(labels.operation);
      one.total += value;
      if (labels.code !== 'OK') one.failed += value;
      one.doors.set(labels.door, (one.doors.get(labels.door) ?? 0) + value);
    } else if (name === 'hati_request_duration_seconds_bucket') {
      const { buckets } = at(labels.operation);
      const end = labels.le === '+Inf' ? Infinity : Number(labels.le);
      buckets.set(end, (buckets.get(end) ?? 0) + value);
    } else if (name === 'hati_ready') {
      ready = value === 1;
    }
  }
  return { at: performance.now(), operations, ready };
}

/** The time that the given part of requests stayed under; `buckets`: [[end, how many so far]]. */
export function quantile(buckets, part) {
  const sorted = [...buckets].sort((a, b) => a[0] - b[0]);
  const total = sorted.at(-1)?.[1] ?? 0;
  if (total <= 0) return NaN;
  const wanted = total * part;
  let start = 0;
  let below = 0;
  for (const [end, upTo] of sorted) {
    if (upTo >= wanted) return end === Infinity ? start : start + (end - start) * ((wanted - below) / (upTo - below || 1));
    start = end;
    below = upTo;
  }
  return start;
}

const minus = (now, then) => new Map([...now].map(([name, value]) => [name, Math.max(0, value - (then?.get(name) ?? 0))]));

function compare(then, now) {
  const seconds = (now.at - then.at) / 1000;
  const sample = { requests: 0, failures: 0, doors: {}, p50: NaN, p99: NaN };
  const all = new Map();
  const rows = [];
  for (const [name, one] of now.operations) {
    if (ABOUT.has(name)) continue;
    const was = then.operations.get(name);
    const total = Math.max(0, one.total - (was?.total ?? 0));
    const failed = Math.max(0, one.failed - (was?.failed ?? 0));
    const buckets = minus(one.buckets, was?.buckets);
    sample.requests += total / seconds;
    sample.failures += failed / seconds;
    for (const [door, value] of minus(one.doors, was?.doors)) sample.doors[door] = (sample.doors[door] ?? 0) + value / seconds;
    if (!WAITS.has(name)) for (const [end, value] of buckets) all.set(end, (all.get(end) ?? 0) + value);
    rows.push({ name, rate: total / seconds, failed: failed / seconds, total: one.total, p50: quantile(buckets, 0.5), p99: quantile(buckets, 0.99) });
  }
  sample.p50 = quantile(all, 0.5);
  sample.p99 = quantile(all, 0.99);
  return { sample, rows };
}

function keep(stats, metrics) {
  const now = metrics ? gather(metrics) : null;
  const queues = stats.broker?.each; // not with an engine, or over a thousand of them
  const sum = (field) => (queues ? queues.reduce((total, queue) => total + (queue[field] ?? 0), 0) : NaN);
  const sample = {
    t: Date.now(), memory: stats.storage?.memory?.keys ?? 0, hdd: stats.storage?.hdd?.keys ?? 0,
    ready: sum('ready'), leased: sum('leased'), delayed: sum('delayed'), messages: stats.broker?.messages ?? 0,
    requests: NaN, failures: NaN, doors: {}, p50: NaN, p99: NaN,
  };
  if (now && before) {
    const { sample: compared, rows } = compare(before, now);
    Object.assign(sample, compared);
    state.operations = rows;
  }
  before = now;
  state.ready = now ? now.ready : true;
  state.metrics = metrics;
  state.stats = stats;
  state.samples.push(sample);
  if (state.samples.length > KEPT) state.samples.shift();
}

async function look(mine) {
  try {
    const [stats, text] = await Promise.all([json('GET', 'stats'), call('GET', 'metrics').then((answer) => answer.text())]);
    if (mine !== round) return;
    keep(stats, parse(text));
    state.error = null;
  } catch (error) {
    if (mine !== round) return;
    state.error = error;
    before = null;
  }
  listeners.forEach((listener) => listener(state));
}

async function turn(mine) {
  if (!document.hidden) await look(mine);
  // who may not read figures is not asked again and again
  if (mine === round && state.error?.status !== 403) timer = setTimeout(turn, EVERY_MS, mine);
}

export function start() {
  stop();
  turn(round);
}

export function stop() {
  clearTimeout(timer);
  round += 1;
  before = null;
  Object.assign(state, { samples: [], stats: null, error: null, operations: [], metrics: null });
}

/** Calls back after each look, and now where there was one; gives what ends that. */
export function listen(listener) {
  listeners.add(listener);
  if (state.stats || state.error) listener(state);
  return () => listeners.delete(listener);
}
