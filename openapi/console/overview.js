// SPDX-License-Identifier: MIT
// The server at a glance.
import { blank, h, set } from './dom.js';
import { chartCard } from './chart.js';
import * as figures from './figures.js';
import { bytes, count, latency, rate, span } from './format.js';
import { hasToken, notAllowed } from './api.js';

const doors = [['http_rest', 'REST', 's1'], ['line', 'lines', 's2'], ['http_rpc', 'JSON-RPC', 's3'], ['olivia', 'Olivia', 's4']];

function charts() {
  return [
    chartCard({
      title: 'Requests per second', format: rate,
      series: doors.map(([door, name, shade]) => ({ name, class: shade, of: (sample) => sample.doors[door] ?? (Number.isNaN(sample.requests) ? NaN : 0) })),
      now: (sample) => [rate(sample.requests), Number.isNaN(sample.requests) ? '' : sample.failures > 0 ? ` per second · ${rate(sample.failures)} failed` : ' per second'],
    }),
    chartCard({
      title: 'Latency', format: latency, log: true,
      series: [{ name: '99 %', class: 's1', of: (sample) => sample.p99 }, { name: 'half', class: 's2', of: (sample) => sample.p50 }],
      now: (sample) => (Number.isNaN(sample.p99) ? ['–', ' no requests'] : [latency(sample.p99), ' for 99 of 100']),
    }),
    chartCard({
      title: 'Keys', format: count, whole: true,
      series: [{ name: 'hdd', class: 's1', of: (sample) => sample.hdd }, { name: 'memory', class: 's2', of: (sample) => sample.memory }],
      now: (sample) => [count(sample.hdd + sample.memory), ' keys'],
    }),
    chartCard({
      title: 'Messages in queues', format: count, whole: true,
      series: [{ name: 'ready', class: 's1', of: (sample) => sample.ready }, { name: 'leased', class: 's2', of: (sample) => sample.leased }, { name: 'delayed', class: 's3', of: (sample) => sample.delayed }, { name: 'all', class: 's4', of: (sample) => sample.messages }],
      now: (sample) => [count(sample.messages), ' waiting or at work'],
    }),
  ];
}

function facts(stats) {
  const { storage, connections, broker } = stats;
  const open = Object.values(connections ?? {}).reduce((a, b) => a + b, 0);
  return [['Uptime', span(stats.uptime)], ['Connections', `${count(open)} open`],
    ['Disk', bytes(storage?.hdd?.bytes)], ['Memory storage', bytes(storage?.memory?.bytes)],
    ['Queues', count(broker?.queues)], ['Routers', count(broker?.routers)]]
    .map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value)));
}

function busy(operations) {
  const rows = operations.filter((one) => one.total > 0).sort((a, b) => b.rate - a.rate || b.total - a.total).slice(0, 10);
  if (rows.length === 0) return [h('tr', null, h('td', { colspan: 6, class: 'muted' }, 'No requests yet, but for this page’s own.'))];
  return rows.map((one) => h('tr', null, h('th', { scope: 'row', class: 'mono' }, one.name), h('td', { class: 'num' }, rate(one.rate)),
    h('td', { class: 'num' }, latency(one.p50)), h('td', { class: 'num' }, latency(one.p99)), h('td', { class: 'num' }, rate(one.failed)), h('td', { class: 'num' }, count(one.total))));
}

export function refused(error) {
  if (error.status === 403 && !hasToken()) return blank('warn', notAllowed(), error.message);
  if (error.status === 403) return blank('warn', 'Figures are not for this token', 'They need the scope admin. Keys and queues are shown as far as the token allows.');
  return blank('warn', error.message, 'This page goes on trying.');
}

export function overview(main) {
  const cards = charts();
  const body = h('tbody');
  const dl = h('dl', { class: 'strip' });
  const state = h('div', { class: 'state' });
  const heads = ['Operation', 'Per second', 'Half within', '99 % within', 'Failed / s', 'Since start'];
  const table = h('section', { class: 'card' }, h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Busiest operations' }, h('table', null, h('caption', null, 'Busiest operations'),
    h('thead', null, h('tr', null, heads.map((text, n) => h('th', { scope: 'col', class: n ? 'num' : '' }, text)))), body)));
  const whole = h('div', { class: 'stack' }, dl, h('div', { class: 'graphs' }, cards.map((card) => card.element)), table);
  const trouble = h('div', { class: 'trouble', hidden: true });
  set(main, h('div', { class: 'head' }, h('h1', null, 'Overview'), state), trouble, whole);
  const end = figures.listen(({ stats, samples, operations, error, ready }) => {
    whole.hidden = !stats;
    trouble.hidden = !error;
    if (error) set(trouble, stats ? h('p', { class: 'note bad', role: 'alert' }, `${error.message}. What is shown was so ${span(Date.now() - samples.at(-1).t)} ago.`) : h('div', { class: 'card' }, refused(error)));
    set(state, h('span', { class: `dot ${error || !ready ? 'off' : ''}` }), error ? 'no figures' : ready ? 'ready' : 'not ready');
    if (!stats) return;
    set(dl, facts(stats));
    set(body, busy(operations));
    cards.forEach((card) => card.update(samples));
  });
  return () => {
    end();
    cards.forEach((card) => card.close());
  };
}
