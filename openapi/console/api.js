// SPDX-License-Identifier: MIT
// Calls of the public API, with the caller's token and no right beyond it. The token lives in this
// module's memory: no cookie, no storage; a reload forgets it.

let token = '';

/** Where the server's paths begin: this file is at BASE/assets/SET/api.js. */
export const base = new URL('../../', import.meta.url);

export const hasToken = () => token !== '';
export function setToken(text) { token = text.trim().replace(/^Bearer\s+/i, ''); }

/** The heading of a 403: a token that is too narrow, or a server that serves its own machine alone. */
export const notAllowed = () => (token ? 'Not for this token' : 'Not from here');

/** What the token says of itself. It is not checked here: that is the server's part. */
export function claims() {
  try {
    const body = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(body), (c) => c.charCodeAt(0))));
  } catch {
    return {};
  }
}

export class Refusal extends Error {
  constructor(status, code, text) {
    super(text);
    this.status = status;
    this.code = code;
  }
}

let onSignOut = () => {};
export function whenSignedOut(f) { onSignOut = f; }

async function refusalOf(answer) {
  let problem = {};
  try {
    problem = JSON.parse(await answer.text());
  } catch { /* an answer of a proxy in between */ }
  const told = problem.detail || problem.error?.message || problem.error || problem.title || problem.message;
  return new Refusal(answer.status, problem.code ?? '', told ? String(told) : `The server answered ${answer.status}`);
}

/** One request; the Response. Failures are thrown as Refusal; those of `expect` are answers, too. */
export async function call(method, path, { query, headers, body, expect = [], signal } = {}) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query ?? {})) if (value !== undefined && value !== '') url.searchParams.set(name, value);
  const all = { ...headers };
  if (token) all.Authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(url, { method, headers: all, body, signal, cache: 'no-store', credentials: 'omit', redirect: 'error' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refusal(0, 'UNREACHABLE', 'The server cannot be reached');
  }
  if (answer.ok || expect.includes(answer.status)) return answer;
  const refusal = await refusalOf(answer);
  if (answer.status === 401) onSignOut(refusal);
  throw refusal;
}

export const json = async (method, path, options) => (await call(method, path, options)).json();

/** A batch of JSON-RPC calls; the answers in their order. */
export async function rpc(calls, signal) {
  if (calls.length === 0) return [];
  const body = JSON.stringify(calls.map(([method, params], id) => ({ jsonrpc: '2.0', id, method, params })));
  const answers = await json('POST', 'rpc', { headers: { 'Content-Type': 'application/json' }, body, signal });
  const byId = new Map(answers.map((answer) => [answer.id, answer]));
  return calls.map((_, id) => byId.get(id) ?? { error: { message: 'no answer' } });
}

/** Path parts: a key may hold slashes and anything else. But a browser resolves dots, however they
 * are written, and would ask for something else. */
export function part(text) {
  if (text === '.' || text === '..') throw new Refusal(0, 'KEY_INVALID', `A browser cannot ask for the name “${text}”: it stands for a folder in addresses`);
  return encodeURIComponent(text);
}

// A key that is no UTF-8 comes as base64. Here it is a string that no key can be: it begins with NUL.
const RAW = '\0';
export const keyOf = (told) => (typeof told === 'string' ? told : RAW + told.key);
export const isRaw = (key) => key.startsWith(RAW);
/** As it is shown: signs that are not seen, or turn the text round, are told by their numbers. */
export const keyName = (key) => (isRaw(key) ? `base64 ${key.slice(1)}` : key.replace(/[\0-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`));
const keyPart = (key) => (isRaw(key) ? Array.from(atob(key.slice(1)), (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`).join('') : part(key));
export const keyPath = (at, key) => `api2/${part(at.workspace)}/${part(at.namespace)}/${keyPart(key)}`;
export const listPath = (at) => `api2/${part(at.workspace)}/${part(at.namespace)}`;

/** Does the server want a token, and is this one good? 'open', 'in', 'wanted' or 'refused'; throws where it cannot be reached. */
export async function probe() {
  const wanted = await bare('');
  if (wanted !== 401) return 'open';
  if (!token) return 'wanted';
  const status = await bare(token);
  return status === 401 ? 'refused' : 'in';
}

/** The status of a call that any good token may make. */
async function bare(given) {
  try {
    const answer = await fetch(new URL('rpc', base), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...(given ? { Authorization: `Bearer ${given}` } : {}) },
      body: '{"jsonrpc":"2.0","id":1,"method":"Server.Ping"}',
      cache: 'no-store',
      credentials: 'omit',
    });
    await answer.text();
    return answer.status;
  } catch {
    throw new Refusal(0, 'UNREACHABLE', 'The server cannot be reached');
  }
}
