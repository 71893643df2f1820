// SPDX-License-Identifier: MIT
// Elements without markup: text is always text, so what is stored in keys can never become a page.

const SVG = 'http://www.w3.org/2000/svg';

function put(element, name, value) {
  if (value === undefined || value === null || value === false) return;
  if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
  else if (name === 'class') element.setAttribute('class', value);
  else if (name === 'style') Object.entries(value).forEach(([key, text]) => element.style.setProperty(key, text));
  else if (name === 'value') element.value = value;
  else if (name === 'checked' || name === 'disabled' || name === 'hidden') element[name] = Boolean(value);
  else element.setAttribute(name, value === true ? '' : String(value));
}

function fill(element, children) {
  for (const child of children.flat(9)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** h('button', {class: 'x', onclick: f}, 'text', node, [more]) */
export function h(tag, options, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options ?? {})) if (name !== 'value') put(element, name, value);
  fill(element, children);
  if (options && 'value' in options) put(element, 'value', options.value);
  return element;
}

/** The same for SVG. */
export function s(tag, options, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(options ?? {})) put(element, name, value);
  return fill(element, children);
}

/** Replaces what an element holds. */
export function set(element, ...children) {
  element.replaceChildren();
  return fill(element, children);
}

const paths = {
  overview: 'M3 12h4l3-8 4 16 3-8h4',
  keys: 'M14.500 9.500a4.500 4.500 0 1 0-4.400 4.500L12 16h2v2h2v2h4v-3.500l-5.700-5.700z',
  queues: 'M4 6h10M4 12h16M4 18h7M17 4l3 2-3 2M14 16l3 2-3 2',
  nodes: 'M4 4h16v6H4zM4 14h16v6H4zM8 7h.01M8 17h.01',
  docs: 'M5 4h10l4 4v12H5zM9 12h6M9 16h6',
  sun: 'M12 4V2M12 22v-2M4 12H2M22 12h-2M6 6 4.500 4.500M19.500 19.500 18 18M6 18l-1.500 1.500M19.500 4.500 18 6M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0z',
  moon: 'M20 14.500A8.500 8.500 0 0 1 9.500 4 8.500 8.500 0 1 0 20 14.500z',
  auto: 'M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18',
  out: 'M10 4H5v16h5M14 8l4 4-4 4M18 12H9',
  plus: 'M12 5v14M5 12h14',
  close: 'M6 6l12 12M18 6 6 18',
  back: 'M15 5l-7 7 7 7',
  help: 'M9 9.500a3 3 0 1 1 4.500 2.600c-1 .6-1.500 1.200-1.500 2.400M12 18h.01',
  empty: 'M4 13l3-8h10l3 8v6H4zM4 13h5l1 2h4l1-2h5',
  warn: 'M12 4 2.500 20h19zM12 10v4M12 17h.01',
};

export function icon(name) {
  return s('svg', { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true', focusable: 'false' }, s('path', { d: paths[name] }));
}

/** Tells people who listen, not look. */
export function say(text) {
  const live = document.getElementById('live');
  live.textContent = '';
  requestAnimationFrame(() => { live.textContent = text; });
}

/** A short word at the edge of the window. */
export function toast(text, kind = 'ok') {
  const box = h('div', { class: `toast ${kind}` }, text);
  document.getElementById('toasts').append(box);
  say(text);
  setTimeout(() => box.remove(), kind === 'bad' ? 8000 : 3500);
}

let ids = 0;
export const newId = (name) => `${name}-${ids += 1}`;

/** A labelled field. */
export function field(label, control, hint) {
  const id = control.id || (control.id = newId('f'));
  const hintId = hint ? `${id}-hint` : null;
  if (hintId) control.setAttribute('aria-describedby', hintId);
  return h('div', { class: 'field' }, h('label', { for: id }, label), control, hint && h('p', { class: 'hint', id: hintId }, hint));
}

/** Nothing is there, or something went wrong: said calmly, with what to do next. */
export function blank(name, title, text, ...actions) {
  return h('div', { class: `blank ${name === 'warn' ? 'is-bad' : ''}` }, icon(name), h('h2', null, title), text && h('p', null, text),
    actions.length ? h('div', { class: 'actions' }, actions) : null);
}
