// SPDX-License-Identifier: MIT
// Keys of a namespace: a page at a time by prefix, searched, and one of them opened.
import { blank, field, h, icon, newId, say, set, toast } from './dom.js';
import { call, claims, isRaw, json, keyName, keyOf, keyPath, listPath, notAllowed, rpc } from './api.js';
import { watch } from './watch.js';
import { open } from './dialog.js';
import { expiry, openEntry } from './entry.js';
import { count, span } from './format.js';

const PAGE = 50;
const SCAN = 1000; // keys asked for at once by a search
const POLL_MS = 3000; // where there is no stream of changes
const PAUSE_MS = 400; // between two looks at a list that changes all the time
const DEFAULT = '11111111-2222-3333-4444-555555555555';

let kept = null; // where somebody was last

class Browser {
  constructor(main, place) {
    const { query, parts } = place;
    const given = (name) => query.get(name) ?? kept?.[name];
    this.at = { workspace: given('workspace') || claims().workspace || DEFAULT, namespace: given('namespace') || 'default', type: given('type') === 'memory' ? 'memory' : 'hdd', prefix: given('prefix') ?? '', search: given('search') ?? '' };
    this.cursors = [];
    this.key = parts.length ? parts.join('/') : null;
    this.expires = new Map();
    this.build(main);
    this.list();
    if (this.key) this.pick(this.key);
    this.timers = [setInterval(() => this.tick(), 1000), setInterval(() => { if (!this.live) this.poll(); }, POLL_MS)];
    this.follow();
    // a browser has six connections for one server, over all its tabs: a stream is for a tab that is looked at
    this.seen = () => {
      this.follow();
      if (!document.hidden) this.poll();
    };
    this.unload = (event) => { if (this.entry?.dirty()) event.preventDefault(); };
    document.addEventListener('visibilitychange', this.seen);
    addEventListener('beforeunload', this.unload);
  }

  close() {
    this.closed = true;
    this.timers.forEach(clearInterval);
    this.scan?.abort();
    this.unwatch?.();
    clearTimeout(this.soon);
    document.removeEventListener('visibilitychange', this.seen);
    removeEventListener('beforeunload', this.unload);
    this.entry?.close({ keep: true });
  }

  // ---- what is on the page

  build(main) {
    const text = (name, options) => h('input', { class: 'mono', value: this.at[name], autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off', ...options });
    this.inputs = { workspace: text('workspace', { required: true }), namespace: text('namespace', { required: true }), prefix: text('prefix', { placeholder: 'any' }), search: text('search', { placeholder: 'text', type: 'search', 'data-search': true, 'aria-keyshortcuts': '/' }) };
    const radio = (type) => h('label', null, h('input', { type: 'radio', name: 'storage', value: type, checked: this.at.type === type, onchange: () => this.go() }), type);
    const bar = h('form', { class: 'card pad keybar', role: 'search', 'aria-label': 'Which keys', onsubmit: (event) => { event.preventDefault(); this.go(); } },
      field('Workspace', this.inputs.workspace), field('Namespace', this.inputs.namespace),
      h('fieldset', { class: 'field' }, h('legend', null, 'Storage'), h('div', { class: 'seg' }, radio('hdd'), radio('memory'))),
      field('Prefix', this.inputs.prefix), field('Contains', this.inputs.search), h('button', { type: 'submit' }, 'Show'));
    this.bar = bar;
    this.rows = h('tbody');
    this.foot = h('div', { class: 'pager' });
    this.told = h('p', { class: 'muted', role: 'status' });
    this.listCard = h('section', { class: 'card', 'aria-label': 'Keys' });
    this.side = h('section', { class: 'card entry', 'aria-label': 'Entry' });
    this.area = h('div', { class: 'split' }, this.listCard, this.side);
    this.state = h('span', { class: 'state' });
    set(main, h('div', { class: 'head' }, h('h1', null, 'Keys'), h('div', { class: 'actions' }, this.state,
      h('button', { type: 'button', 'data-create': true, 'aria-keyshortcuts': 'c', onclick: () => this.create() }, icon('plus'), 'New key'))), bar, this.area);
    this.rest();
    this.rows.addEventListener('click', (event) => {
      const row = event.target.closest('tr');
      if (!row?.dataset.key || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.pick(row.dataset.key, true);
    });
    this.rows.addEventListener('keydown', (event) => {
      const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const links = [...this.rows.querySelectorAll('a')];
      links[links.indexOf(document.activeElement) + step]?.focus();
    });
  }

  rest() {
    this.area.classList.remove('has-entry');
    set(this.side, blank('keys', 'No key is open', 'Choose one of the list to see its value, or make a new one.'));
  }

  // ---- where we are

  hash(key) {
    const query = new URLSearchParams({ workspace: this.at.workspace, namespace: this.at.namespace, type: this.at.type, prefix: this.at.prefix, search: this.at.search });
    return `#/keys${key === null ? '' : `/${encodeURIComponent(key)}`}?${query}`;
  }

  remember() {
    kept = { ...this.at };
    history.replaceState(null, '', this.hash(this.key));
  }

  go() {
    for (const [name, input] of Object.entries(this.inputs)) this.at[name] = name === 'workspace' || name === 'namespace' ? input.value.trim() : input.value;
    this.at.type = this.bar.querySelector('[name=storage]:checked').value;
    this.key = null;
    this.cursors = [];
    this.entry?.close({ keep: true });
    this.entry = null;
    this.rest();
    this.remember();
    this.list();
    this.follow();
  }

  // ---- the list

  async fetch(cursor, limit, signal) {
    const page = await json('GET', listPath(this.at), { query: { type: this.at.type, prefix: this.at.prefix, limit, cursor }, signal });
    return { ...page, keys: page.keys.map(keyOf) };
  }

  async list(quiet = false) {
    if (this.at.search && quiet) return; // what goes through all keys is begun by a person
    this.scan?.abort();
    if (this.at.search) {
      await this.look();
      return;
    }
    const turn = this.turn = (this.turn ?? 0) + 1;
    try {
      const { keys, cursor } = await this.fetch(this.cursors.at(-1), PAGE);
      if (turn !== this.turn || this.closed) return;
      const same = quiet && this.shown?.join('\n') === keys.join('\n');
      this.next = cursor;
      if (!same) this.fill(keys);
      if (!quiet) say(`${keys.length} keys`);
      await this.times();
    } catch (error) {
      if (turn === this.turn && !this.closed && !quiet) this.fail(error);
    }
  }

  fail(error) {
    this.shown = null;
    set(this.listCard, blank('warn', error.status === 403 ? notAllowed() : error.status === 400 ? 'That is no place for keys' : 'The keys cannot be listed', error.message,
      h('button', { type: 'button', onclick: () => this.list() }, 'Try again')));
  }

  fill(keys) {
    const focused = document.activeElement?.closest?.('tr')?.dataset.key;
    this.shown = keys;
    const caption = newId('caption');
    if (keys.length === 0) {
      const first = this.cursors.length === 0;
      set(this.listCard, blank('empty', this.at.search ? 'No key has this in its name' : 'No keys here', this.at.prefix ? `None begins with “${this.at.prefix}”.` : first ? `This namespace of ${this.at.type} is empty.` : 'This page is empty by now.',
        first ? h('button', { type: 'button', onclick: () => this.create() }, 'Make one') : h('button', { type: 'button', onclick: () => { this.cursors.pop(); this.list(); } }, 'Back')));
      return;
    }
    set(this.rows, keys.map((key) => h('tr', { class: 'pick', 'data-key': key, 'aria-selected': String(key === this.key) },
      h('th', { scope: 'row', class: 'mono' }, h('a', { href: this.hash(key) }, this.mark(key))), h('td', { class: 'num muted', 'data-ttl': true }, '…'))));
    this.pager(keys);
    set(this.listCard, h('table', { class: 'keys', 'aria-labelledby': caption }, h('caption', { id: caption, class: 'sr' }, `Keys of ${this.at.namespace} in ${this.at.type}`), h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'Key'), h('th', { scope: 'col', class: 'num' }, 'Expires'))), this.rows), this.foot);
    this.tick();
    if (focused) [...this.rows.rows].find((row) => row.dataset.key === focused)?.querySelector('a').focus();
  }

  mark(key) {
    const at = this.at.search ? key.indexOf(this.at.search) : -1;
    return at < 0 ? keyName(key) : [keyName(key.slice(0, at)), h('mark', null, keyName(this.at.search)), keyName(key.slice(at + this.at.search.length))];
  }

  pager(keys) {
    if (this.at.search) {
      set(this.foot, this.told);
      return;
    }
    const from = this.cursors.length * PAGE + 1;
    const step = (name, label, enabled, act) => h('button', { class: 'quiet', type: 'button', disabled: !enabled, onclick: act }, label);
    this.told.textContent = `${count(from)} to ${count(from + keys.length - 1)}`;
    set(this.foot, step('back', 'Previous', this.cursors.length > 0, () => { this.cursors.pop(); this.list(); }), this.told,
      step('next', 'Next', Boolean(this.next), () => { this.cursors.push(this.next); this.list(); }));
  }

  // ---- search: the server knows prefixes; names that contain something are found by going through

  async look() {
    const control = this.scan = new AbortController();
    const found = [];
    let seen = 0;
    let cursor;
    this.fill([]);
    set(this.listCard, h('div', { class: 'pad muted', role: 'status' }, 'Searching…'));
    const stop = h('button', { class: 'quiet', type: 'button', onclick: () => control.abort() }, 'Stop');
    try {
      do {
        const page = await this.fetch(cursor, SCAN, control.signal);
        seen += page.keys.length;
        found.push(...page.keys.filter((key) => key.includes(this.at.search)));
        cursor = page.cursor;
        this.told.textContent = `${count(found.length)} found in ${count(seen)} keys${cursor ? '…' : ''}`;
        if (found.length) this.fill(found.slice(0, 500));
        else set(this.listCard, h('div', { class: 'pad' }, h('p', { class: 'muted', role: 'status' }, this.told.textContent)));
        if (cursor) (found.length ? this.foot : this.listCard.firstChild).append(stop);
      } while (cursor && found.length < 500 && !control.signal.aborted);
      if (!found.length) this.fill([]);
      stop.remove();
    } catch (error) {
      if (error.name !== 'AbortError') this.fail(error);
      else if (this.scan === control) this.told.textContent += ' (stopped)';
      stop.remove();
    }
    say(this.told.textContent);
    await this.times();
  }

  // ---- expiry

  async times() {
    const keys = (this.shown ?? []).filter((key) => !isRaw(key)).slice(0, 100);
    const { workspace, namespace, type } = this.at;
    try {
      const answers = await rpc(keys.map((key) => ['Storage.Ttl', { type, key, workspace, namespace }]));
      const now = performance.now();
      keys.forEach((key, at) => {
        const ms = answers[at].result;
        this.expires.set(key, answers[at].error ? (/KEY_NOT_EXIST/.test(answers[at].error.message) ? -1 : NaN) : ms > 0 ? now + ms : Infinity);
      });
      this.tick();
    } catch { /* it stays unknown */ }
  }

  tick() {
    const now = performance.now();
    for (const row of this.rows.rows) {
      const end = this.expires.get(row.dataset.key);
      const cell = row.querySelector('[data-ttl]');
      const text = end === undefined || Number.isNaN(end) ? '' : end === Infinity ? '–' : end <= now ? 'gone' : span(end - now);
      if (cell.textContent !== text) cell.textContent = text;
      cell.classList.toggle('soon', end !== Infinity && end - now < 10000);
    }
  }

  async poll() {
    if (document.hidden || this.polling) return;
    this.polling = true;
    await Promise.all([this.list(true), this.entry?.check()]);
    this.polling = false;
  }

  // ---- what happens meanwhile

  follow() {
    this.unwatch?.();
    this.setLive(false);
    this.unwatch = null;
    if (!document.hidden) this.unwatch = watch({ ...this.at }, { told: (change) => this.changed(change), live: (on) => this.setLive(on) });
  }

  setLive(on) {
    if (this.live !== on) set(this.state, h('span', { class: `dot ${on ? '' : 'idle'}` }), on ? 'live' : `every ${POLL_MS / 1000} s`);
    this.live = on;
  }

  changed(change) {
    if (this.closed) return;
    const key = change?.key === undefined ? null : keyOf(change.key);
    if (key === null || key === this.key) this.entry?.check();
    const shown = this.shown?.includes(key);
    const beyond = this.next && this.shown?.length && key !== null && !shown && key > this.shown.at(-1);
    if (beyond) return;
    if (shown && change.kind === 'set') this.fresh = (this.fresh ?? new Set()).add(key);
    this.soon ??= setTimeout(async () => {
      this.soon = null;
      const fresh = this.fresh ?? new Set();
      this.fresh = null;
      await this.list(true);
      for (const row of this.rows.rows) if (fresh.has(row.dataset.key)) this.flash(row);
    }, PAUSE_MS);
  }

  flash(row) {
    row.classList.remove('fresh');
    void row.offsetWidth; // so that it begins anew
    row.classList.add('fresh');
  }

  // ---- one entry

  pick(key, byHand = false) {
    if (byHand && this.entry?.dirty() && this.key !== key && !window.confirm('Leave what you edited without saving it?')) return;
    this.entry?.close();
    this.key = key;
    this.area.classList.add('has-entry');
    for (const row of this.rows.rows) row.setAttribute('aria-selected', String(row.dataset.key === key));
    this.remember();
    const back = () => {
      this.entry?.close();
      this.entry = null;
      this.key = null;
      this.rest();
      this.remember();
      [...this.rows.rows].find((row) => row.dataset.key === key)?.querySelector('a').focus();
    };
    this.entry = openEntry(this.side, this.at, key, { back, gone: () => { back(); this.list(); }, changed: () => this.list(true) });
    if (matchMedia('(max-width: 980px)').matches) this.side.scrollIntoView({ block: 'start' });
  }

  create() {
    const at = { ...this.at };
    open('New key', (close) => {
      const key = h('input', { class: 'mono', required: true, value: at.prefix, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off', autofocus: true });
      const value = h('textarea', { rows: 6, spellcheck: 'false' });
      const type = h('input', { class: 'mono', value: 'text/plain; charset=utf-8', autocomplete: 'off' });
      const when = expiry(null);
      const error = h('p', { class: 'error', role: 'alert' });
      const submit = async (event) => {
        event.preventDefault();
        try {
          const answer = await call('PUT', keyPath(at, key.value), { query: { type: at.type, ttl: when.ms() || undefined }, headers: { 'If-None-Match': '*', 'Content-Type': type.value || 'application/octet-stream' }, body: new TextEncoder().encode(value.value), expect: [412] });
          if (answer.status === 412) throw new Error('A key of this name is there already. Close this and open it to edit it.');
          toast('Made');
          close();
          await this.list();
          this.pick(key.value);
        } catch (failure) {
          set(error, failure.message);
        }
      };
      return h('form', { onsubmit: submit }, h('p', { class: 'hint' }, `In namespace ${at.namespace}, storage ${at.type}.`), field('Key', key), field('Value', value), field('Content type', type), when.element, error,
        h('div', { class: 'actions' }, h('button', { type: 'button', onclick: () => close() }, 'Cancel'), h('button', { class: 'primary', type: 'submit' }, 'Make it')));
    });
  }
}

export function keys(main, place) {
  const browser = new Browser(main, place);
  return () => browser.close();
}
