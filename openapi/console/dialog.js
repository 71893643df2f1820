// SPDX-License-Identifier: MIT
// Dialogs on the element made for them: focus stays inside, Escape closes, focus returns.
import { h, icon, newId } from './dom.js';

/** Closes what is open, with nothing chosen: the page it was about goes away. */
export function closeAll() {
  document.querySelectorAll('dialog[open]').forEach((box) => box.close());
}

/** Opens; `build(close)` gives the content. Resolves with what close was called with. */
export function open(title, build, { wide = false } = {}) {
  return new Promise((resolve) => {
    const id = newId('dialog');
    let result;
    const close = (value) => {
      result = value;
      box.close();
    };
    const box = h('dialog', { class: wide ? 'dialog wide' : 'dialog', 'aria-labelledby': id },
      h('header', null, h('h2', { id }, title),
        h('button', { class: 'quiet only-icon', type: 'button', 'aria-label': 'Close', onclick: () => box.close() }, icon('close'))));
    box.append(build(close));
    box.addEventListener('close', () => {
      box.remove();
      resolve(result);
    });
    box.addEventListener('click', (event) => { if (event.target === box) box.close(); });
    document.body.append(box);
    box.showModal();
    (box.querySelector('[autofocus]') ?? box.querySelector('input, select, textarea, .actions button'))?.focus();
  });
}

/** True where it is confirmed. `word`: what has to be typed first. */
export function confirm(title, text, action, word) {
  return open(title, (close) => {
    const go = h('button', { class: 'danger', type: 'submit', disabled: Boolean(word) }, action);
    const input = word && h('input', { class: 'mono', autocomplete: 'off', spellcheck: 'false', autofocus: true, oninput: () => { go.disabled = input.value !== word; } });
    if (input) input.id = newId('word');
    return h('form', { method: 'dialog', onsubmit: (event) => { event.preventDefault(); close(true); } },
      h('p', null, text),
      input && h('div', { class: 'field' }, h('label', { for: input.id }, 'Type ', h('code', null, word), ' to go on'), input),
      h('div', { class: 'actions' }, h('button', { type: 'button', autofocus: !input, onclick: () => close(false) }, 'Cancel'), go));
  });
}
