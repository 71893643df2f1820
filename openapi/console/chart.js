// SPDX-License-Identifier: MIT
// Lines over time, in SVG.
import { h, s, set } from './dom.js';

const HEIGHT = 148;
const SPANS = [60000, 120000, 300000, 600000]; // the shortest that holds what there is
const [TOP, BOTTOM, LEFT, RIGHT] = [10, 20, 44, 6];

/** A round number at or above: 1, 2, 2.5, 5 times a power of ten. */
function roundUp(number, whole) {
  if (!(number > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(number));
  const top = [1, 2, 2.5, 5, 10].find((step) => step * power >= number) * power;
  return whole ? Math.max(1, Math.ceil(top)) : top;
}

/** The points without gaps: where nothing was known, one run ends. */
function runs(points) {
  const all = [[]];
  for (const point of points) {
    if (!Number.isNaN(point[1])) all.at(-1).push(point);
    else if (all.at(-1).length) all.push([]);
  }
  return all.filter((run) => run.length);
}

const line = (run) => `M${run.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join('L')}`;

/** series: [{name, of(sample), class}]; format(value); whole: no fractions on the axis; log: powers of
 * ten on it, for what is as interesting small as large. */
export class Chart {
  constructor({ title, series, format, whole = false, log = false }) {
    Object.assign(this, { title, series, format, whole, log, low: 0, span: SPANS[0], samples: [], width: 0 });
    this.svg = s('svg', { role: 'img', class: 'plot', height: HEIGHT, 'aria-label': title });
    this.tip = h('div', { class: 'tip', hidden: true });
    this.element = h('div', { class: 'chart' }, this.svg, this.tip);
    this.svg.addEventListener('pointermove', (event) => this.point(event));
    this.svg.addEventListener('pointerleave', () => { this.at = null; this.tip.hidden = true; this.draw(); });
    this.watcher = new ResizeObserver(([entry]) => {
      this.width = Math.floor(entry.contentRect.width);
      this.draw();
    });
    this.watcher.observe(this.element);
  }

  update(samples) {
    this.samples = samples;
    this.draw();
  }

  close() { this.watcher.disconnect(); }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const t = this.now - this.span * (1 - (event.clientX - box.left - LEFT) / (this.width - LEFT - RIGHT));
    this.at = this.samples.reduce((best, sample) => (!best || Math.abs(sample.t - t) < Math.abs(best.t - t) ? sample : best), null);
    this.draw();
  }

  x(t) { return LEFT + (this.width - LEFT - RIGHT) * (1 - (this.now - t) / this.span); }

  y(value) {
    const part = this.log ? Math.log10(Math.max(value, this.low) / this.low) / Math.log10(this.top / this.low) : value / this.top;
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - part);
  }

  /** What the axis spans. */
  scale(values) {
    if (!this.log) {
      this.top = roundUp(Math.max(0, ...values), this.whole);
      return;
    }
    const above = values.filter((value) => value > 0);
    this.low = 10 ** Math.floor(Math.log10(Math.min(2e-5, ...above)) + 1e-9);
    this.top = 10 ** Math.ceil(Math.log10(Math.max(1e-2, ...above)) - 1e-9);
  }

  steps() {
    if (!this.log) return this.whole && this.top < 4 ? [0, this.top] : [0, this.top / 2, this.top];
    const powers = Math.round(Math.log10(this.top / this.low));
    return Array.from({ length: powers + 1 }, (_, n) => this.low * 10 ** n);
  }

  axis() {
    const rows = this.steps().map((value, n) => s('g', null,
      s('line', { class: n ? 'grid' : 'zero', x1: LEFT, x2: this.width - RIGHT, y1: this.y(value), y2: this.y(value) }),
      s('text', { class: 'tick', x: LEFT - 8, y: this.y(value) + 4, 'text-anchor': 'end' }, this.format(value))));
    const ago = (ms) => (ms < 60000 ? `−${ms / 1000} s` : `−${ms / 60000} min`);
    return [rows, [0, 1, 2].map((n) => s('text', { class: 'tick', x: LEFT + ((this.width - LEFT - RIGHT) * n) / 2, y: HEIGHT - 4, 'text-anchor': ['start', 'middle', 'end'][n] },
      ['now', ago(this.span / 2), ago(this.span)][2 - n]))];
  }

  curves(samples) {
    const floor = HEIGHT - BOTTOM;
    return this.series.map((one, index) => {
      const all = runs(samples.map((sample) => [this.x(sample.t), this.y(one.of(sample))]));
      const lines = all.filter((run) => run.length > 1);
      const area = lines.map((run) => `${line(run)}V${floor}H${run[0][0].toFixed(1)}Z`).join('');
      return [index === 0 && area && s('path', { class: 'area', d: area }), s('path', { class: `line ${one.class}`, d: lines.map(line).join('') }),
        all.filter((run) => run.length === 1).map(([[x, y]]) => s('circle', { class: `spot ${one.class}`, cx: x, cy: y, r: 2.5 }))];
    }).reverse();
  }

  cursor() {
    if (!this.at) return null;
    const x = this.x(this.at.t);
    set(this.tip, h('span', { class: 'muted' }, new Date(this.at.t).toLocaleTimeString()),
      this.series.map((one) => h('span', null, h('i', { class: `key ${one.class}` }), `${one.name} `, h('b', null, this.format(one.of(this.at))))));
    this.tip.hidden = false;
    this.tip.style.left = `${Math.min(Math.max(x, 70), this.width - 80)}px`;
    return [s('line', { class: 'cursor', x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }),
      this.series.map((one) => !Number.isNaN(one.of(this.at)) && s('circle', { class: `spot ${one.class}`, cx: x, cy: this.y(one.of(this.at)), r: 3.5 }))];
  }

  draw() {
    if (this.width < 80) return;
    this.now = this.samples.at(-1)?.t ?? Date.now();
    const age = this.now - (this.samples[0]?.t ?? this.now);
    this.span = SPANS.find((span) => span >= age) ?? SPANS.at(-1);
    const samples = this.samples.filter((sample) => sample.t >= this.now - this.span);
    const values = samples.flatMap((sample) => this.series.map((one) => one.of(sample))).filter(Number.isFinite);
    this.scale(values);
    this.svg.setAttribute('viewBox', `0 0 ${this.width} ${HEIGHT}`);
    this.svg.setAttribute('width', this.width);
    const last = samples.at(-1);
    this.svg.setAttribute('aria-label', `${this.title}. ${last ? this.series.map((one) => `${one.name}: ${this.format(one.of(last))}`).join(', ') : 'No figures yet'}`);
    set(this.svg, this.axis(), this.curves(samples), this.cursor());
  }
}

/** A card: title, what it is now, the plot, its legend. */
export function chartCard({ title, now, ...rest }) {
  const chart = new Chart({ title, ...rest });
  const figure = h('span', { class: 'figure' }, '–');
  const unit = h('span', { class: 'unit' });
  const legend = rest.series.length > 1 && h('ul', { class: 'legend' }, rest.series.map((one) => h('li', null, h('i', { class: `key ${one.class}` }), one.name)));
  const element = h('section', { class: 'card graph', 'aria-label': title },
    h('header', null, h('h2', null, title), legend), h('p', { class: 'big' }, figure, unit), chart.element);
  return {
    element,
    close: () => chart.close(),
    update(samples) {
      const last = samples.at(-1);
      if (last) {
        const [value, text] = now(last);
        figure.textContent = value;
        unit.textContent = text;
      }
      chart.update(samples);
    },
  };
}
