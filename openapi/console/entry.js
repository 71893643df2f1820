// SPDX-License-Identifier: MIT
// One entry: what it is, and its editor. A save says which version it was made from (If-Match), so
// that nobody's change is written over unseen.
import { blank, field, h, icon, newId, say, set, toast } from './dom.js';
import { call, claims, keyName, keyPath, notAllowed, Refusal } from './api.js';
import { confirm } from './dialog.js';
import { settle } from './conflict.js';
import { modeFor, modes, same } from './bytes.js';
import { bytes as size, parseSpan, span } from './format.js';

const PART = 1048576; // of a large value, at first

/** Reads an entry; null where it is not there. */
export async function read(at, key, { whole = false, etag } = {}) {
  const path = keyPath(at, key);
  const headers = { ...(whole ? {} : { Range: `bytes=0-${PART - 1}` }), ...(etag ? { 'If-None-Match': etag } : {}) };
  const answer = await call('GET', path, { query: { type: at.type }, headers, expect: [304, 404, 416] });
  if (answer.status === 416) return read(at, key, { whole: true, etag });
  if (answer.status === 404) return null;
  const ttl = Number(answer.headers.get('Hati-Ttl') ?? 0);
  const entry = {
    key, path, etag: answer.headers.get('ETag'), revision: answer.headers.get('Hati-Revision'),
    type: answer.headers.get('Content-Type') ?? '', expires: ttl > 0 ? performance.now() + ttl : 0, unchanged: answer.status === 304,
  };
  if (entry.unchanged) return entry;
  entry.bytes = new Uint8Array(await answer.arrayBuffer());
  entry.total = answer.status === 206 ? Number(/\/(\d+)$/.exec(answer.headers.get('Content-Range') ?? '')?.[1] ?? entry.bytes.length) : entry.bytes.length;
  entry.partial = entry.total > entry.bytes.length;
  return entry;
}

export const left = (entry) => (entry.expires ? Math.max(0, entry.expires - performance.now()) : 0);

/** The part of a form that says when an entry expires; `ms()` gives what to send, 0 for never. */
export function expiry(entry) {
  const has = Boolean(entry?.expires);
  const choice = h('select', { id: newId('expiry') }, has && h('option', { value: 'keep' }, 'Keep the time that is left'), h('option', { value: 'never' }, 'Never'), h('option', { value: 'set' }, 'After…'));
  const input = h('input', { 'aria-label': 'Time to live', placeholder: '90s, 15m, 2h, 1d', hidden: true, autocomplete: 'off' });
  choice.addEventListener('change', () => {
    input.hidden = choice.value !== 'set';
    if (!input.hidden) input.focus();
  });
  return {
    element: h('div', { class: 'field' }, h('label', { for: choice.id }, 'Expires'), h('div', { class: 'pair' }, choice, input)),
    changed: () => choice.value !== (has ? 'keep' : 'never'),
    ms() {
      if (choice.value === 'never') return 0;
      if (choice.value === 'keep') return Math.max(1, Math.round(left(entry)));
      const ms = parseSpan(input.value);
      if (!(ms > 0)) throw new Error('A time is a number with ms, s, m, h or d behind it: 90s');
      return ms;
    },
  };
}

// What somebody was still editing when the page went away: a token that ends takes nobody's text with
// it. It is for who made it, and gone with this page.
const drafts = new Map();
const draftKey = (at, key) => JSON.stringify([claims().account, claims().sub, claims().workspace, at.workspace, at.namespace, at.type, key]);
export function forgetDrafts() { drafts.clear(); }

class Editor {
  constructor(place, at, key, { gone, changed, back }) {
    Object.assign(this, { place, at, key, gone, changed, back, mode: null, was: '', busy: false, draft: draftKey(at, key) });
  }

  async open() {
    set(this.place, h('div', { class: 'pad muted', role: 'status' }, 'Reading…'));
    try {
      const draft = drafts.get(this.draft);
      const entry = await read(this.at, this.key);
      if (this.closed) return;
      if (draft) this.resume(draft);
      else if (entry) this.show(entry);
      else this.missing();
    } catch (error) {
      if (!this.closed) set(this.place, this.header(), blank('warn', error.status === 403 ? notAllowed() : 'The value cannot be read', error.message, h('button', { type: 'button', onclick: () => this.open() }, 'Try again')));
    }
  }

  /** keep: what is edited is there again when this key is opened the next time. */
  close({ keep = false } = {}) {
    if (keep && !this.closed && this.dirty()) drafts.set(this.draft, { entry: this.entry, mode: this.mode, shown: this.shown, text: this.area.value, type: this.type.value });
    this.closed = true;
    clearInterval(this.ticker);
  }

  /** As it was left: upon the version that it was made from, so that a save still asks. */
  resume({ entry, mode, shown, text, type }) {
    drafts.delete(this.draft);
    this.show(entry);
    this.setMode(mode, shown);
    this.area.value = text;
    this.type.value = type;
    set(this.note, h('p', { class: 'note' }, 'This is what you were editing. It has not been saved.'));
    this.look();
    this.check();
  }

  missing() {
    this.entry = null;
    set(this.place, this.header(), blank('empty', 'This key is not there', 'It was deleted, or has expired.'));
  }

  header(more) {
    return h('header', { class: 'entry-head' },
      h('button', { class: 'quiet only-icon back', type: 'button', 'aria-label': 'Back to the list', onclick: this.back }, icon('back')),
      h('h2', { class: 'mono', tabindex: -1, id: 'entry-title' }, keyName(this.key)), more);
  }

  show(entry) {
    clearInterval(this.ticker);
    this.entry = entry;
    this.note = h('div', { 'aria-live': 'polite' });
    this.error = h('p', { class: 'error', role: 'alert' });
    this.ttl = h('dd');
    this.type = h('input', { class: 'mono', value: entry.type, autocomplete: 'off', spellcheck: 'false' });
    this.expiry = expiry(entry);
    this.save = h('button', { class: 'primary', type: 'submit', disabled: true }, 'Save');
    this.undo = h('button', { type: 'button', disabled: true, onclick: () => this.show(this.entry) }, 'Revert');
    this.body = h('div');
    this.tabs = h('div', { class: 'seg', role: 'tablist', 'aria-label': 'How the value is shown' });
    const form = h('form', { class: 'stack pad', onsubmit: (event) => { event.preventDefault(); this.store(); } },
      h('dl', { class: 'facts' }, h('dt', null, 'Size'), h('dd', null, size(entry.total)), h('dt', null, 'Revision'), h('dd', null, entry.revision),
        h('dt', null, 'ETag'), h('dd', { class: 'mono' }, (entry.etag ?? '').replaceAll('"', '')), h('dt', null, 'Expires'), this.ttl),
      this.note,
      entry.partial && h('p', { class: 'note' }, `The first ${size(entry.bytes.length)} of ${size(entry.total)}, to read only. `, h('button', { type: 'button', onclick: () => this.whole() }, 'Read all of it')),
      h('div', { class: 'tools' }, this.tabs), this.body,
      h('div', { class: 'two' }, field('Content type', this.type), this.expiry.element), this.error,
      h('div', { class: 'actions' }, this.save, this.undo, h('button', { class: 'danger end', type: 'button', onclick: () => this.remove() }, 'Delete…')));
    form.addEventListener('input', () => this.look());
    form.addEventListener('change', () => this.look());
    form.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && !this.save.disabled) form.requestSubmit();
    });
    set(this.place, this.header(), form);
    this.setMode(modes[this.mode]?.can(entry.bytes) ? this.mode : modeFor(entry.bytes, entry.type), entry.bytes);
    this.tick();
    this.ticker = setInterval(() => this.tick(), 1000);
  }

  async whole() {
    const entry = await read(this.at, this.key, { whole: true }).catch((error) => toast(error.message, 'bad'));
    if (entry && !this.closed) this.show(entry);
  }

  tick() {
    if (this.closed) return;
    const { entry } = this;
    this.ttl.textContent = !entry.expires ? 'never' : left(entry) > 0 ? `in ${span(left(entry))}` : 'it has expired';
    this.ttl.className = entry.expires && left(entry) < 10000 ? 'soon' : '';
  }

  setMode(name, bytes) {
    const mode = modes[name];
    this.mode = name;
    const id = this.panelId ??= newId('panel');
    set(this.tabs, Object.entries(modes).map(([key, one]) => h('button', {
      type: 'button', role: 'tab', 'aria-selected': String(key === name), 'aria-controls': id, tabindex: key === name ? 0 : -1, disabled: !one.can(bytes) && key !== name,
      onclick: () => this.turn(key), onkeydown: (event) => this.arrow(event),
    }, one.name)));
    this.shown = bytes;
    const text = mode.show(bytes);
    const area = h('textarea', { 'aria-label': `Value as ${mode.name}`, spellcheck: 'false', autocapitalize: 'off', autocomplete: 'off', rows: Math.min(24, Math.max(8, text.split('\n').length + 1)), wrap: name === 'hex' ? 'off' : 'soft', class: name });
    area.value = text;
    this.area = area;
    this.was = area.value;
    // what the control cannot hold unchanged is not edited in it
    let holds = !this.entry.partial;
    try { holds = holds && same(mode.read(area.value, bytes), bytes); } catch { holds = false; }
    area.readOnly = !holds;
    const glyphs = name === 'hex' && h('pre', { class: 'glyphs', 'aria-hidden': 'true' }, modes.hex.can(bytes) ? '' : null);
    if (glyphs) {
      const draw = () => { try { glyphs.textContent = glyphText(modes.hex.read(area.value)); } catch { /* half a byte */ } };
      area.addEventListener('input', draw);
      area.addEventListener('scroll', () => { glyphs.scrollTop = area.scrollTop; });
      draw();
    }
    set(this.body, h('div', { role: 'tabpanel', id, class: glyphs ? 'hexpair' : '' }, area, glyphs),
      !holds && !this.entry.partial && h('p', { class: 'hint' }, 'Shown to read only: its line ends would not survive an editor. Hex can be edited.'));
    this.look();
  }

  arrow(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const tabs = [...this.tabs.children].filter((tab) => !tab.disabled);
    const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
    next.click();
    this.tabs.querySelector('[aria-selected="true"]').focus();
  }

  turn(name) {
    try {
      const bytes = this.now();
      if (!modes[name].can(bytes)) throw new Error(`The value cannot be shown as ${modes[name].name}`);
      set(this.error);
      this.setMode(name, bytes);
    } catch (error) {
      set(this.error, error.message);
    }
  }

  /** The bytes that the editor stands for. */
  now() { return this.area.value === this.was ? this.shown : modes[this.mode].read(this.area.value, this.shown); }

  dirty() {
    if (!this.entry) return false;
    if (this.type.value !== this.entry.type || this.expiry.changed()) return true;
    try { return !same(this.now(), this.entry.bytes); } catch { return true; }
  }

  look() {
    const dirty = this.dirty();
    this.save.disabled = !dirty || this.entry.partial || this.busy;
    this.undo.disabled = !dirty;
  }

  async put(bytes, ttl, condition) {
    return call('PUT', this.entry.path, { query: { type: this.at.type, ttl: ttl || undefined }, headers: { ...condition, ...(this.type.value ? { 'Content-Type': this.type.value } : {}) }, body: bytes, expect: [412] });
  }

  async store() {
    let bytes;
    let ttl;
    try {
      bytes = this.now();
      ttl = this.expiry.ms();
      set(this.error);
    } catch (error) {
      set(this.error, error.message);
      return;
    }
    this.busy = true;
    this.look();
    try {
      let answer = await this.put(bytes, ttl, { 'If-Match': this.entry.etag });
      while (answer.status === 412) {
        const theirs = await read(this.at, this.key, { whole: true });
        const choice = await settle(keyName(this.key), bytes, theirs);
        if (choice === 'theirs') {
          if (theirs) this.show(theirs);
          else this.gone();
          return;
        }
        if (choice !== 'mine') return;
        answer = await this.put(bytes, ttl, theirs ? { 'If-Match': theirs.etag } : { 'If-None-Match': '*' });
      }
      toast('Saved');
      await this.open();
      this.place.querySelector('textarea')?.focus();
      this.changed();
    } catch (error) {
      set(this.error, error.message);
    } finally {
      this.busy = false;
      if (!this.closed && this.entry) this.look();
    }
  }

  async remove() {
    const { etag, path } = this.entry; // of what is seen while one thinks about it
    if (!(await confirm('Delete this key?', ['“', h('span', { class: 'mono' }, keyName(this.key)), '” and its value go at once. There is no way back.'], 'Delete'))) return;
    try {
      const answer = await call('DELETE', path, { query: { type: this.at.type }, headers: { 'If-Match': etag }, expect: [404, 412] });
      if (answer.status === 412) {
        toast('It has changed since it was read, and was not deleted. This is what it is now.', 'bad');
        await this.open();
        return;
      }
      toast(answer.status === 404 ? 'It was gone already' : 'Deleted');
      this.gone();
    } catch (error) {
      toast(error.message, 'bad');
    }
  }

  /** Looks whether somebody else changed it. */
  async check() {
    if (!this.entry || this.busy || this.closed || this.checking) return;
    this.checking = true;
    const before = this.entry;
    try {
      const entry = await read(this.at, this.key, { etag: before.etag });
      if (this.closed || this.entry !== before || this.busy) return;
      if (entry?.unchanged) return;
      if (this.dirty()) {
        set(this.note, h('p', { class: 'note bad' }, entry ? 'It has been changed on the server while you edit it. Saving will show you both versions.' : 'It has been deleted on the server while you edit it.'));
      } else if (entry) {
        this.show(entry);
        say('The value has changed');
      } else {
        this.missing();
      }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    } finally {
      this.checking = false;
    }
  }
}

function glyphText(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += 1) text += (bytes[at] > 31 && bytes[at] < 127 ? String.fromCharCode(bytes[at]) : '·') + (at % 16 === 15 ? '\n' : '');
  return text;
}

export function openEntry(place, at, key, hooks) {
  const editor = new Editor(place, at, key, hooks);
  editor.open();
  return editor;
}
