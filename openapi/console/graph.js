// SPDX-License-Identifier: MIT
// Routers and queues as a picture: routers on the left, what is bound to them on the right, dead
// letters round the right edge.
import { h, s, set } from './dom.js';
import { keyName } from './api.js';
import { count } from './format.js';

const ROW = 66;
const BOX = 48;
const PAD = 14;
const RIM = 54; // for the arcs of dead letters
const NARROW = 480; // below it there is no room for patterns

const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** Queues in the order that crosses fewest lines: by the mean place of the routers they hang on. */
function order(routers, queues) {
  const weight = new Map();
  routers.forEach((router, at) => router.bindings.forEach(({ queue }) => {
    const one = weight.get(queue) ?? [0, 0];
    weight.set(queue, [one[0] + at, one[1] + 1]);
  }));
  const mean = (name) => (weight.has(name) ? weight.get(name)[0] / weight.get(name)[1] : NaN);
  const place = new Map(queues.map((queue, at) => [queue.name, mean(queue.name) || (weight.has(queue.name) ? 0 : 1e6 + at)]));
  for (const queue of queues) { // a queue of dead letters stands below the last that fills it
    const target = queue['dead-letter'];
    if (target && place.has(target) && !weight.has(target)) place.set(target, Math.min(place.get(target), place.get(queue.name) + 0.01));
  }
  return [...queues].sort((a, b) => place.get(a.name) - place.get(b.name) || a.name.localeCompare(b.name));
}

function node({ x, y, width, href, name, sub, hot, kind }) {
  return s('a', { href, class: `node ${kind} ${hot ? 'hot' : ''}` },
    s('title', null, `${kind} ${keyName(name)}: ${sub}`),
    s('rect', { x, y, width, height: BOX, rx: kind === 'router' ? BOX / 2 : 9 }),
    s('text', { class: 'name', x: x + (kind === 'router' ? 20 : 14), y: y + 21 }, short(keyName(name), Math.floor((width - 30) / 7.6))),
    s('text', { class: 'sub', x: x + (kind === 'router' ? 20 : 14), y: y + 37 }, sub));
}

/** Each as high as the middle of its queues, and none over another. */
function placeRouters(routers, at, height) {
  const wanted = routers.map((router, n) => {
    const ys = router.bindings.map(({ queue }) => at.get(`q ${queue}`)).filter((y) => y !== undefined);
    return { name: router.name, y: ys.length ? ys.reduce((a, b) => a + b, 0) / ys.length : PAD + n * ROW + BOX / 2 };
  }).sort((a, b) => a.y - b.y);
  let low = PAD + BOX / 2;
  for (const one of wanted) {
    one.y = Math.max(one.y, low);
    low = one.y + ROW;
  }
  let high = height - PAD - BOX / 2;
  for (const one of wanted.reverse()) {
    one.y = Math.min(one.y, high);
    high = one.y - ROW;
    at.set(`r ${one.name}`, one.y);
  }
}

function bindings(routers, at, sizes) {
  const lines = [];
  const labels = [];
  const used = new Map();
  for (const router of routers) {
    for (const { queue, pattern } of router.bindings) {
      const [from, to] = [at.get(`r ${router.name}`), at.get(`q ${queue}`)];
      if (from === undefined || to === undefined) continue;
      const [x1, x2] = [sizes.left, sizes.right];
      const bend = (x2 - x1) * 0.5;
      lines.push(s('path', { class: 'bind', d: `M${x1} ${from}C${x1 + bend} ${from} ${x2 - bend} ${to} ${x2} ${to}` }));
      const nth = used.get(queue) ?? 0;
      used.set(queue, nth + 1);
      const text = router.type === 'fanout' ? '' : pattern || queue;
      if (text) labels.push(s('text', { class: 'pattern', x: x2 - 10, y: to - 6 - nth * 15, 'text-anchor': 'end' }, short(text, Math.floor((x2 - x1) / 8.5))));
    }
  }
  return [lines, labels];
}

function deadLetters(queues, at, edge, rim) {
  return queues.filter((queue) => queue['dead-letter'] && at.has(`q ${queue['dead-letter']}`)).map((queue) => {
    const [from, to] = [at.get(`q ${queue.name}`), at.get(`q ${queue['dead-letter']}`)];
    const out = edge + Math.min(rim - 4, 22 + Math.abs(to - from) / 8);
    return s('path', { class: 'dead', 'marker-end': 'url(#tip)', d: `M${edge} ${from + 8}C${out} ${from + 8} ${out} ${to - 8} ${edge + 3} ${to - 8}` }, s('title', null, `dead letters of ${queue.name} go to ${queue['dead-letter']}`));
  });
}

export class Graph {
  constructor(hrefs) {
    this.hrefs = hrefs;
    this.svg = s('svg', { class: 'graph-svg', role: 'group', 'aria-label': 'Routers, their bindings, and queues' });
    this.element = h('div', { class: 'scroll graph-box', tabindex: -1 }, this.svg);
    this.watcher = new ResizeObserver(([entry]) => {
      this.width = Math.max(280, Math.floor(entry.contentRect.width));
      this.draw();
    });
    this.watcher.observe(this.element);
  }

  close() { this.watcher.disconnect(); }

  update(routers, queues) {
    this.routers = routers;
    this.queues = queues;
    this.draw();
  }

  draw() {
    if (!this.routers || !this.width) return;
    const focused = this.svg.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
    const queues = order(this.routers, this.queues);
    const narrow = this.width < NARROW;
    const rim = narrow ? 30 : RIM;
    const box = Math.min(230, Math.floor((this.width - rim) * (narrow ? 0.4 : 0.32)));
    const rows = Math.max(this.routers.length, queues.length, 1);
    const height = rows * ROW + PAD * 2 - (ROW - BOX);
    const sizes = { left: PAD + box, right: this.width - rim - box };
    const at = new Map();
    queues.forEach((queue, n) => at.set(`q ${queue.name}`, PAD + n * ROW + BOX / 2));
    placeRouters(this.routers, at, height);
    const [lines, labels] = bindings(this.routers, at, sizes);
    this.svg.setAttribute('viewBox', `0 0 ${this.width} ${height}`);
    this.svg.setAttribute('width', this.width);
    this.svg.setAttribute('height', height);
    set(this.svg,
      s('defs', null, s('marker', { id: 'tip', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto' }, s('path', { class: 'arrow', d: 'M0 0L8 4L0 8z' }))),
      lines, deadLetters(queues, at, this.width - rim, rim), !narrow && labels,
      this.routers.map((router) => node({ kind: 'router', x: PAD, y: at.get(`r ${router.name}`) - BOX / 2, width: box, href: this.hrefs.router(router.name), name: router.name, sub: narrow ? router.type : `${router.type} · ${count(router.published)} in` })),
      queues.map((queue) => node({ kind: 'queue', x: sizes.right, y: at.get(`q ${queue.name}`) - BOX / 2, width: box, href: this.hrefs.queue(queue.name), name: queue.name, hot: queue.ready > 0, sub: `${queue.paused ? 'paused · ' : ''}${count(queue.ready)} ready${narrow ? '' : ` · ${count(queue.leased)} leased`}` })));
    if (focused) [...this.svg.querySelectorAll('a')].find((link) => link.getAttribute('href') === focused)?.focus();
  }
}
