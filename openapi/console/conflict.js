// SPDX-License-Identifier: MIT
// Two versions of one value: both are shown, and a person decides.
import { h } from './dom.js';
import { open } from './dialog.js';
import { glyphsOf, hexOf, jsonIndent, modeFor, textOf } from './bytes.js';
import { bytes as size } from './format.js';

const LINES_MAX = 600;

function linesOf(bytes, mode) {
  if (mode === 'hex') {
    const glyphs = glyphsOf(bytes.subarray(0, 8192)).split('\n');
    return hexOf(bytes.subarray(0, 8192)).split('\n').map((line, at) => `${line.padEnd(47)}  ${glyphs[at]}`);
  }
  const text = textOf(bytes);
  return (mode === 'json' ? jsonIndent(text) : text).split('\n');
}

/** Which lines of each are in both, by their longest common order. */
function common(a, b) {
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) for (let j = b.length - 1; j >= 0; j -= 1) table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const [inA, inB] = [new Set(), new Set()];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) {
      inA.add(i);
      inB.add(j);
      i += 1;
      j += 1;
    } else if (table[i + 1][j] >= table[i][j + 1]) {
      i += 1;
    } else {
      j += 1;
    }
  }
  return [inA, inB];
}

function pane(title, bytes, lines, shared) {
  return h('section', { 'aria-label': title }, h('h3', null, title, ' ', h('span', { class: 'muted' }, size(bytes.length))),
    h('pre', { class: 'version', tabindex: 0 }, lines.map((line, at) => h(shared.has(at) ? 'span' : 'mark', null, `${line}\n`))));
}

/** 'mine', 'theirs', or nothing: go on editing. theirs: null where it was deleted. */
export function settle(key, mine, theirs) {
  return open(theirs ? 'Somebody else changed this key' : 'Somebody else deleted this key', (close) => {
    const modeMine = modeFor(mine, '');
    const mode = theirs && modeFor(theirs.bytes, '') !== modeMine ? (textOf(mine) !== null && textOf(theirs.bytes) !== null ? 'text' : 'hex') : modeMine;
    const a = linesOf(mine, mode).slice(0, LINES_MAX);
    const b = theirs ? linesOf(theirs.bytes, mode).slice(0, LINES_MAX) : [];
    const [inA, inB] = common(a, b);
    return h('div', { class: 'body' },
      h('p', null, h('span', { class: 'mono' }, key), theirs ? ' is not what it was when you opened it. Nothing has been written yet.' : ' was there when you opened it. Nothing has been written yet.'),
      h('div', { class: 'two' }, pane('Yours', mine, a, inA), theirs ? pane('On the server now', theirs.bytes, b, inB) : h('section', null, h('h3', null, 'On the server now'), h('p', { class: 'muted' }, 'nothing'))),
      h('div', { class: 'actions' }, h('button', { type: 'button', autofocus: true, onclick: () => close() }, 'Go on editing'),
        h('button', { type: 'button', onclick: () => close('theirs') }, theirs ? 'Take the server’s' : 'Let it be gone'),
        h('button', { type: 'button', class: 'danger', onclick: () => close('mine') }, theirs ? 'Write mine over it' : 'Write mine anew')));
  }, { wide: true });
}
