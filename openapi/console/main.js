// SPDX-License-Identifier: MIT
// The frame: who is here, which page is shown, keys that lead from one to another.
import { blank, h, icon, s, say, set } from './dom.js';
import { claims, hasToken, probe, setToken, whenSignedOut } from './api.js';
import { closeAll, open } from './dialog.js';
import { overview } from './overview.js';
import * as figures from './figures.js';

const pages = {
  overview: { title: 'Overview', key: 'o', load: async () => overview },
  keys: { title: 'Keys', key: 'k', load: async () => (await import('./keys.js')).keys },
  queues: { title: 'Queues', key: 'q', load: async () => (await import('./broker.js')).broker },
  nodes: { title: 'Nodes', key: 'n', load: async () => (await import('./nodes.js')).nodes },
};
const app = document.getElementById('app');
let isOpen = false; // the server wants no token
let leave = () => {};
let turn = 0;

// ---- light and dark

const themes = ['auto', 'light', 'dark'];
const kept = () => { try { return localStorage.getItem('hati-theme') || 'auto'; } catch { return 'auto'; } };
let theme = themes.includes(kept()) ? kept() : 'auto';

function applyTheme() {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function themeButton() {
  const button = h('button', { class: 'quiet', type: 'button' });
  const show = () => set(button, icon({ auto: 'auto', light: 'sun', dark: 'moon' }[theme]),
    h('span', null, { auto: 'Theme: system', light: 'Theme: light', dark: 'Theme: dark' }[theme]));
  button.addEventListener('click', () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { localStorage.setItem('hati-theme', theme); } catch { /* not kept, then */ }
    applyTheme();
    show();
    say(`Theme: ${theme}`);
  });
  show();
  return button;
}

// ---- the door

const moon = () => s('svg', { viewBox: '0 0 24 24', 'aria-hidden': 'true' }, s('path', { d: 'M16.800 17.500A8 8 0 0 1 9.300 4.200a8.600 8.600 0 1 0 10.900 11 8 8 0 0 1-3.400 2.300z' }));

function signIn(told) {
  const token = h('textarea', { id: 'token', class: 'mono', rows: 4, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off', required: true, 'aria-describedby': 'token-hint', placeholder: 'eyJhbGciOi…' });
  const error = h('p', { class: 'error', role: 'alert' }, told ?? '');
  const button = h('button', { class: 'primary', type: 'submit' }, 'Sign in');
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    setToken(token.value);
    try {
      const state = await probe();
      if (state === 'refused' || state === 'wanted') throw new Error('The server does not take this token. It may have expired, or be signed for another server.');
      start(state, true);
    } catch (failure) {
      setToken('');
      set(error, failure.message);
      button.disabled = false;
      token.focus();
    }
  };
  set(app, h('main', { class: 'door', id: 'main', tabindex: -1 }, h('form', { onsubmit: submit },
    h('div', { class: 'brand' }, moon(), 'hati'),
    h('h1', null, 'Sign in with a token'),
    h('div', { class: 'field' }, h('label', { for: 'token' }, 'Token'), token,
      h('p', { class: 'hint', id: 'token-hint' }, 'A JWT, as ', h('code', null, 'hati token'), ' makes them. It is kept in the memory of this page alone: a reload forgets it. You see and do here what it allows.')),
    error, button)));
  token.addEventListener('keydown', (event) => { if (event.key === 'Enter' && !event.shiftKey) token.form.requestSubmit(); });
  token.focus();
}

// ---- the frame

function whoText() {
  if (isOpen) return 'No sign-in is needed here';
  const { account, sub, scope, exp } = claims();
  const name = sub || account || 'token';
  const end = exp ? `, until ${new Date(exp * 1000).toLocaleString()}` : '';
  return `${String(name).slice(0, 40)}${scope ? ` · ${String(scope).slice(0, 80)}` : ''}${end}`;
}

function signOut(told) {
  setToken('');
  closeAll();
  figures.stop();
  leave();
  leave = () => {};
  turn += 1;
  signIn(told);
}

function leaveForGood() {
  signOut();
  import('./entry.js').then((entry) => entry.forgetDrafts(), () => {});
}

function frame() {
  const links = Object.entries(pages).map(([name, page]) => h('li', null, h('a', { href: `#/${name}`, 'data-page': name, 'aria-keyshortcuts': `g ${page.key}` }, icon(name), page.title)));
  set(app, h('div', { class: 'frame' },
    h('header', { class: 'side' },
      h('div', { class: 'brand' }, moon(), 'hati', h('small', { id: 'version' })),
      h('nav', { 'aria-label': 'Pages' }, h('ul', { class: 'nav' }, links)),
      h('div', { class: 'foot' },
        h('p', { class: 'who' }, whoText()),
        h('a', { class: 'button quiet', href: 'docs' }, icon('docs'), h('span', null, 'API documentation')),
        h('button', { class: 'quiet', type: 'button', onclick: help }, icon('help'), h('span', null, 'Keyboard')),
        themeButton(),
        hasToken() && h('button', { class: 'quiet', type: 'button', onclick: leaveForGood }, icon('out'), h('span', null, 'Sign out')))),
    h('main', { id: 'main', tabindex: -1 })));
}

const place = () => {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, ...rest] = path.split('/');
  let parts = [];
  try { parts = rest.map(decodeURIComponent); } catch { /* a hash somebody typed */ }
  return { name: pages[name] ? name : 'overview', parts, query: new URLSearchParams(query) };
};

async function show(moved) {
  const main = document.querySelector('.frame > main');
  if (!main) return;
  const at = place();
  const mine = turn += 1;
  closeAll();
  leave();
  leave = () => {};
  document.querySelectorAll('[data-page]').forEach((link) => {
    if (link.dataset.page === at.name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  });
  document.title = `${pages[at.name].title} · hati`;
  try {
    const page = await pages[at.name].load();
    if (mine !== turn) return;
    leave = page(main, at) ?? (() => {});
    if (moved) {
      main.focus({ preventScroll: true });
      scrollTo(0, 0);
      say(pages[at.name].title);
    }
  } catch (error) {
    set(main, blank('warn', 'This page did not load', 'The server is away, or was renewed while the console was open. Loaded anew, it wants a token again where one is needed.', h('button', { type: 'button', onclick: () => location.reload() }, 'Load anew')));
  }
}

function help() {
  const rows = [['g then o', 'Overview'], ['g then k', 'Keys'], ['g then q', 'Queues'], ['g then n', 'Nodes'], ['/', 'To the search field'],
    ['c', 'New key, or new queue'], ['j, k or arrows', 'Along a table'], ['Ctrl + Enter', 'Save what is edited'], ['Escape', 'Close'], ['?', 'This list']];
  open('Keyboard', () => h('div', { class: 'body' }, h('table', { class: 'plain' }, h('thead', { class: 'sr' }, h('tr', null, h('th', { scope: 'col' }, 'Keys'), h('th', { scope: 'col' }, 'What they do'))),
    h('tbody', null, rows.map(([keys, text]) => h('tr', null, h('td', null, keys.split(' ').map((word) => (/^(then|or)$/.test(word) ? ` ${word} ` : [h('kbd', null, word), ' ']))), h('td', null, text)))))));
}

let led = 0; // when `g` was hit
addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]') || !document.querySelector('.frame')) return;
  if (event.target.closest?.('input:not([type=radio]), textarea, select')) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  const page = Date.now() - led < 1200 && Object.keys(pages).find((name) => pages[name].key === event.key);
  led = event.key === 'g' ? Date.now() : 0;
  if (page) location.hash = `#/${page}`;
  else if (event.key === '?') help();
  else if (event.key === '/') document.querySelector('[data-search]')?.focus();
  else if (event.key === 'c') document.querySelector('[data-create]')?.click();
  else return;
  event.preventDefault();
});
document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault();
  document.getElementById('main')?.focus();
});

function start(state, moved) {
  isOpen = state === 'open';
  frame();
  figures.start();
  show(moved);
}

async function begin() {
  try {
    const state = await probe();
    if (state === 'open') start(state, false);
    else signIn();
  } catch (error) {
    set(app, h('main', { class: 'door', id: 'main', tabindex: -1 }, blank('warn', error.message, 'It may be starting, or away.', h('button', { type: 'button', class: 'primary', onclick: begin }, 'Try again'))));
  }
}

applyTheme();
figures.listen(({ stats }) => {
  const version = document.getElementById('version');
  if (version && stats) version.textContent = stats.version;
});
whenSignedOut((refusal) => { if (!isOpen) signOut(hasToken() ? `Signed out: ${refusal.message}` : undefined); });
addEventListener('hashchange', () => show(true));
begin();
