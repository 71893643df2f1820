// SPDX-License-Identifier: MIT
// A value as text, as JSON and as hex, and back, without changing a byte that nobody changed.

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();
export const HEX_MAX = 65536;

export function same(a, b) {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

/** Text, or null where the bytes are none. */
export function textOf(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

// ---- hex: pairs, 16 to a line

export function hexOf(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) lines.push([...bytes.subarray(at, at + 16)].map((byte) => byte.toString(16).padStart(2, '0')).join(' '));
  return lines.join('\n');
}

export function hexIn(text) {
  const digits = text.replace(/\s+/g, '');
  if (/[^0-9a-f]/i.test(digits)) throw new Error('Hex has the digits 0 to 9 and a to f only');
  if (digits.length % 2) throw new Error('A byte is two hex digits; one is missing');
  return Uint8Array.from({ length: digits.length / 2 }, (_, at) => parseInt(digits.substr(at * 2, 2), 16));
}

/** What stands beside hex: characters, or dots. */
export function glyphsOf(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) lines.push([...bytes.subarray(at, at + 16)].map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : '·')).join(''));
  return lines.join('\n');
}

// ---- JSON: laid out by its signs alone, so that numbers and strings stay as they were written

const TOKEN = /\s+|"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/gy;

function tokens(text) {
  return (text.match(TOKEN) ?? []).filter((token) => token.trim() !== '');
}

export function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

// Laid out, what is nested deeply is blanks above all: a short value would be a text that no page can hold.
const DEPTH_MAX = 100;

function isDeep(text) {
  let depth = 0;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === '{' || token === '[') depth += 1;
    else if (token === '}' || token === ']') depth -= 1;
    if (depth > DEPTH_MAX) return true;
  }
  return false;
}

/** Is it JSON that a person can be shown? */
const isShown = (text) => isJson(text) && !isDeep(text);

export function jsonIndent(text) {
  let out = '';
  let depth = 0;
  const all = tokens(text);
  const line = () => `\n${'  '.repeat(depth)}`;
  all.forEach((token, at) => {
    if (token === '{' || token === '[') {
      depth += 1;
      const end = all[at + 1] === '}' || all[at + 1] === ']';
      out += token + (end ? '' : line());
    } else if (token === '}' || token === ']') {
      depth -= 1;
      out += (all[at - 1] === '{' || all[at - 1] === '[' ? '' : line()) + token;
    } else {
      out += token === ',' ? `,${line()}` : token === ':' ? ': ' : token;
    }
  });
  return out;
}

export const jsonCompact = (text) => tokens(text).join('');

// ---- the three ways to look at a value

/** Each: can(bytes) and its reason, show(bytes) and read(text, bytes as they were). */
export const modes = {
  text: {
    name: 'Text',
    can: (bytes) => textOf(bytes) !== null,
    show: (bytes) => textOf(bytes),
    // a textarea knows \n alone: what was \r\n throughout is so again
    read: (text, was) => encoder.encode(isCrlf(textOf(was)) ? text.replaceAll('\n', '\r\n') : text),
  },
  json: {
    name: 'JSON',
    can: (bytes) => isShown(textOf(bytes) ?? ''),
    show: (bytes) => jsonIndent(textOf(bytes)),
    read: (text, was) => {
      try {
        JSON.parse(text);
      } catch (error) {
        throw new Error(`Not JSON: ${error.message}`);
      }
      const old = textOf(was);
      if (old !== null && jsonIndent(old) === text) return was;
      return encoder.encode(old !== null && isJson(old) && !old.trim().includes('\n') ? jsonCompact(text) : text);
    },
  },
  hex: { name: 'Hex', can: (bytes) => bytes.length <= HEX_MAX, show: hexOf, read: hexIn },
};

function isCrlf(text) {
  return text !== null && text.includes('\r') && !/\r(?!\n)|(?<!\r)\n/.test(text);
}

export function modeFor(bytes, type) {
  const text = textOf(bytes);
  if (text === null) return 'hex';
  if ((/\bjson\b/.test(type) || /^\s*[[{]/.test(text)) && isShown(text)) return 'json';
  return /[\0-\x08\x0e-\x1f]/.test(text) && bytes.length <= HEX_MAX ? 'hex' : 'text';
}
