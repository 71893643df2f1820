// SPDX-License-Identifier: MIT
// Numbers, sizes and times as people read them.

const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export function count(number) {
  if (!Number.isFinite(number)) return '–';
  if (Math.abs(number) < 100000) return plain.format(number).replaceAll(',', ' ');
  if (Math.abs(number) < 1e6) return `${(number / 1e3).toFixed(0)} k`;
  if (Math.abs(number) < 1e9) return `${(number / 1e6).toFixed(number < 1e7 ? 2 : 1)} M`;
  return `${(number / 1e9).toFixed(2)} G`;
}

export function rate(number) {
  if (!Number.isFinite(number)) return '–';
  if (number === 0) return '0';
  if (number < 10) return number.toFixed(1);
  return count(Math.round(number));
}

export function bytes(number) {
  if (!Number.isFinite(number)) return '–';
  let unit = 0;
  while (number >= 1024 && unit < 4) {
    number /= 1024;
    unit += 1;
  }
  return `${unit && number < 100 ? number.toFixed(1) : Math.round(number)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][unit]}`;
}

/** Seconds that a request took. */
export function latency(seconds) {
  if (!Number.isFinite(seconds)) return '–';
  const short = (number, unit) => `${number < 9.95 && Math.abs(number - Math.round(number)) > 0.05 ? number.toFixed(1) : Math.round(number)} ${unit}`;
  if (seconds < 0.0009995) return `${Math.round(seconds * 1e6)} µs`;
  return seconds < 0.9995 ? short(seconds * 1e3, 'ms') : short(seconds, 's');
}

/** Milliseconds as a span: `4 m 05 s`. */
export function span(ms) {
  if (!Number.isFinite(ms)) return '–';
  const total = Math.max(0, Math.floor(ms / 1000));
  const [days, hours, minutes, seconds] = [Math.floor(total / 86400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60, total % 60];
  const two = (number) => String(number).padStart(2, '0');
  if (days) return `${days} d ${two(hours)} h`;
  if (hours) return `${hours} h ${two(minutes)} m`;
  if (minutes) return `${minutes} m ${two(seconds)} s`;
  return `${seconds} s`;
}

/** `90s`, `5m`, `2h`, `1d`, `1500` (ms): milliseconds, or NaN. */
export function parseSpan(text) {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*$/.exec(text);
  if (!match) return NaN;
  return Math.round(Number(match[1]) * { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 }[match[2] ?? 'ms']);
}
