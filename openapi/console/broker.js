// SPDX-License-Identifier: MIT
// Queues and routers: the picture, the tables, and one of them close up.
import { blank, h, icon, set } from './dom.js';
import { json, keyName, notAllowed, rpc } from './api.js';
import { chartCard } from './chart.js';
import { Graph } from './graph.js';
import * as forms from './brokerforms.js';
import { count, span } from './format.js';

const EVERY_MS = 2000;
const MOST = 200; // queues and routers shown
const DRAWN = 40; // queues in the picture
const PEEK = 20;
const href = { queue: (name) => `#/queues/queue/${encodeURIComponent(name)}`, router: (name) => `#/queues/router/${encodeURIComponent(name)}` };

/** Everything about queues and routers that this token may see; the queues with a text in their names. */
async function fetchAll(wanted) {
  const [routers, queues] = await Promise.all([json('GET', 'broker/routers'), json('GET', 'broker/queues')]);
  const found = queues.queues.filter((name) => name.includes(wanted));
  const names = { routers: routers.routers.slice(0, MOST), queues: found.slice(0, MOST) };
  const answers = await rpc([...names.routers.map((router) => ['Broker.GetRouter', { router }]), ...names.queues.map((queue) => ['Broker.GetQueue', { queue }])]);
  const good = answers.map((answer) => answer.result);
  return {
    routers: good.slice(0, names.routers.length).filter(Boolean), queues: good.slice(names.routers.length).filter(Boolean),
    names: { routers: routers.routers, queues: queues.queues },
    found: found.length,
    refused: answers.filter((answer) => answer.error).length,
  };
}

/** The queues of the picture: all, or, where they are many, those that hang on something. */
function drawable({ routers, queues }) {
  if (queues.length <= DRAWN) return queues;
  const bound = new Set(routers.flatMap((router) => router.bindings.map((one) => one.queue)));
  queues.filter((queue) => queue['dead-letter']).forEach((queue) => bound.add(queue.name).add(queue['dead-letter']));
  return queues.filter((queue) => bound.has(queue.name)).slice(0, DRAWN);
}

/** What is not shown, and why; empty where all is. */
function missing({ names, found, routers, queues, refused }, drawn) {
  const told = [];
  if (found > MOST || names.routers.length > MOST) told.push(`The first ${MOST} of ${count(found)} queues and ${count(names.routers.length)} routers are shown.`);
  if (refused) told.push(`${refused} of them ${refused === 1 ? 'is' : 'are'} not for this token.`);
  if (drawn < queues.length) told.push(`The picture has ${drawn} queues that are bound or hold dead letters.`);
  return routers.length ? told.join(' ') : '';
}

/** Asks again and again; `take` gets what came or the error. */
function follow(fetch, take) {
  let timer;
  let closed = false;
  let busy = false;
  let again = false;
  const look = async () => {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    clearTimeout(timer);
    try {
      const got = await fetch();
      if (!closed) take(got, null);
    } catch (error) {
      if (!closed) take(null, error);
    }
    busy = false;
    if (!closed) timer = setTimeout(turn, again ? 0 : EVERY_MS);
    again = false;
  };
  const turn = () => { if (document.hidden) timer = setTimeout(turn, EVERY_MS); else look(); };
  look();
  return { look, close() { closed = true; clearTimeout(timer); } };
}

const head = (text, number) => h('th', { scope: 'col', class: number ? 'num' : '' }, text);
const named = (to, name) => h('a', { class: 'mono named', href: to(name), title: keyName(name) }, keyName(name));
const cells = (...values) => values.map((value) => h('td', { class: 'num' }, count(value)));

function table(label, heads, body) {
  return h('section', { class: 'card' }, h('div', { class: 'scroll', role: 'region', tabindex: 0, 'aria-label': label }, h('table', null, h('caption', null, label), h('thead', null, h('tr', null, heads)), body)));
}

const failure = (error, again) => blank('warn', error.status === 403 ? notAllowed() : error.status === 404 ? 'It is not there' : error.message, error.status === 403 ? error.message : error.status === 404 ? 'It was deleted, or never made.' : 'This page goes on trying.',
  again && h('button', { type: 'button', onclick: again }, 'Try again'));

// ---- all of them

function whole(main) {
  const graph = new Graph(href);
  const queueBody = h('tbody');
  const routerBody = h('tbody');
  const trouble = h('div', { hidden: true });
  let known = { names: { queues: [], routers: [] } };
  const after = async (done) => { if (await done) feed.look(); };
  const button = (text, act, options) => h('button', { type: 'button', onclick: act, ...options }, text);
  const note = h('p', { class: 'note', hidden: true });
  const filter = h('input', { class: 'mono filter', type: 'search', 'aria-label': 'Queues with this in their names', placeholder: 'Filter queues', autocomplete: 'off', spellcheck: 'false', 'data-search': true, 'aria-keyshortcuts': '/', oninput: () => feed.look() });
  const body = h('div', { class: 'stack', hidden: true }, note,
    h('section', { class: 'card', 'aria-label': 'Bindings' }, h('header', null, h('h2', null, 'Bindings'), h('p', { class: 'muted hint' }, 'What is published to ', h('span', { class: 'mono' }, 'default'), ' under a queue’s name reaches that queue, bound or not.')), graph.element),
    table('Queues', [head('Name'), head('Storage'), head('Ready', true), head('Leased', true), head('Delayed', true), head('Oldest', true), head('Published', true), head('Acked', true), head('Consumers', true)], queueBody),
    table('Routers', [head('Name'), head('Type'), head('Bindings', true), head('Published', true), head('Reached none', true)], routerBody));
  const none = h('div', { class: 'card', hidden: true }, blank('queues', 'No queues yet', 'A queue holds messages until a consumer has dealt with them. Routers copy messages to the queues that are bound to them.', button('Make one', () => after(forms.createQueue([])), { class: 'primary' })));
  set(main, h('div', { class: 'head' }, h('h1', null, 'Queues'), h('div', { class: 'actions' }, filter,
    button('Publish', () => after(forms.publish(known.names.routers, 'default')), { class: 'primary' }),
    button('New router', () => after(forms.createRouter())),
    button([icon('plus'), 'New queue'], () => after(forms.createQueue(known.names.queues)), { 'data-create': true, 'aria-keyshortcuts': 'c' }))), trouble, none, body);
  const feed = follow(() => fetchAll(filter.value), (got, error) => {
    trouble.hidden = !error;
    if (error) {
      if (!known.routers) body.hidden = none.hidden = true; // else what is shown was so
      set(trouble, h('div', { class: 'card' }, failure(error)));
      return;
    }
    known = got;
    const empty = got.names.queues.length === 0 && got.names.routers.length <= 1;
    none.hidden = !empty;
    body.hidden = empty;
    const drawn = got.routers.filter((router) => router.bindings.length || router.name !== 'default');
    const queues = drawable(got);
    graph.update(drawn, queues);
    note.textContent = missing(got, queues.length);
    note.hidden = note.textContent === '';
    draw(queueBody, got.queues.map((queue) => [queue.name, h('tr', null, h('th', { scope: 'row' }, named(href.queue, queue.name), queue.paused && [' ', h('span', { class: 'tag hot' }, 'paused')]),
      h('td', { class: 'muted' }, queue.type), cells(queue.ready, queue.leased, queue.delayed), h('td', { class: 'num' }, queue.oldest_ms ? span(queue.oldest_ms) : '–'), cells(queue.published, queue.acked, queue.consumers))]));
    draw(routerBody, got.routers.map((router) => [router.name, h('tr', null, h('th', { scope: 'row' }, named(href.router, router.name)),
      h('td', { class: 'muted' }, router.type), cells(router.bindings.length, router.published, router.unroutable))]));
  });
  return () => {
    feed.close();
    graph.close();
  };
}

/** Rows anew, with the focus where it was. */
function draw(body, rows) {
  const focused = body.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
  set(body, rows.map(([, row]) => row));
  if (focused) [...body.querySelectorAll('a')].find((link) => link.getAttribute('href') === focused)?.focus();
}

// ---- one queue

const facts = (pairs) => h('dl', { class: 'facts' }, pairs.map(([name, value]) => [h('dt', null, name), h('dd', null, value)]));
const crumb = () => h('a', { class: 'button quiet', href: '#/queues' }, icon('back'), 'Queues');

function bodyOf(message) {
  const text = message.payload;
  return message.encoding === 'base64' ? `(${Math.floor((text.replace(/=+$/, '').length * 3) / 4)} bytes, in base64) ${text}` : text;
}

function messageRow(message) {
  const text = bodyOf(message);
  return h('tr', null, h('th', { scope: 'row', class: 'mono' }, message.id), h('td', { class: 'mono' }, message.key || '–'), h('td', { class: 'num' }, count(message.attempt)), h('td', { class: 'num' }, span(Date.now() - message.published_at)),
    h('td', { class: 'payload' }, text.length > 90 || text.includes('\n') ? h('details', null, h('summary', { class: 'mono' }, `${text.slice(0, 80)}…`), h('pre', null, text)) : h('code', null, text),
      Object.keys(message.headers ?? {}).length > 0 && h('p', { class: 'hint mono' }, JSON.stringify(message.headers))));
}

function peeking(name) {
  const place = h('div', { class: 'card', hidden: true });
  let cursor = [];
  const show = async () => {
    place.hidden = false;
    try {
      const { messages, cursor: next } = await json('GET', `${forms.queuePath(name)}/messages`, { query: { limit: PEEK, cursor: cursor.at(-1) } });
      const move = (text, enabled, act) => h('button', { class: 'quiet', type: 'button', disabled: !enabled, onclick: () => { act(); show(); } }, text);
      if (messages.length === 0) set(place, blank('empty', 'No message is ready', 'Messages under a lease, and delayed ones, are not shown here.'));
      else set(place, h('div', { class: 'scroll', role: 'region', tabindex: 0, 'aria-label': 'Ready messages' }, h('table', null, h('caption', null, 'Ready messages, not taken by looking'), h('thead', null, h('tr', null, head('Id'), head('Key'), head('Attempts', true), head('Age', true), head('Payload'))), h('tbody', null, messages.map(messageRow)))),
        h('div', { class: 'pager' }, move('Previous', cursor.length, () => cursor.pop()), h('p', { class: 'muted', role: 'status' }, `${cursor.length * PEEK + 1} to ${cursor.length * PEEK + messages.length}`), move('Next', next, () => cursor.push(next))));
    } catch (error) {
      set(place, failure(error, show));
    }
  };
  return { place, show: () => { cursor = []; return show(); }, again: () => { if (!place.hidden) show(); } };
}

function oneQueue(main, name) {
  const samples = [];
  const chart = chartCard({
    title: 'Messages', format: count, whole: true,
    series: [{ name: 'ready', class: 's1', of: (one) => one.ready }, { name: 'leased', class: 's2', of: (one) => one.leased }, { name: 'delayed', class: 's3', of: (one) => one.delayed }],
    now: (one) => [count(one.ready), ' ready'],
  });
  const [tags, left, right] = [h('div', { class: 'actions' }), h('div'), h('div')];
  const peek = peeking(name);
  const trouble = h('div', { class: 'card', hidden: true });
  let queue = null;
  const after = async (done) => {
    if (!(await done)) return;
    feed.look();
    peek.again();
  };
  const act = (text, run, options) => h('button', { type: 'button', onclick: () => { if (queue) run(); }, ...options }, text);
  const pause = act('Pause', async () => { await forms.pause(queue); feed.look(); });
  const whole_ = h('div', { class: 'stack' }, h('div', { class: 'actions' },
    act('Publish', () => after(forms.publish(['default'], 'default', name)), { class: 'primary' }), act('Peek', () => peek.show()), act('Redrive', () => after(forms.redrive(queue))), pause,
    act('Purge…', () => after(forms.purge(queue)), { class: 'danger' }), act('Delete…', async () => { if (await forms.deleteQueue(queue)) location.hash = '#/queues'; }, { class: 'danger' })),
  h('div', { class: 'graphs' }, chart.element, h('section', { class: 'card pad', 'aria-label': 'Figures' }, h('div', { class: 'two' }, left, right))), peek.place);
  set(main, crumb(), h('div', { class: 'head' }, h('h1', { class: 'mono' }, keyName(name)), tags), trouble, whole_);
  const feed = follow(async () => json('GET', forms.queuePath(name)), (got, error) => {
    trouble.hidden = !error;
    whole_.hidden = error?.status === 404 || (error && !queue);
    if (error) {
      set(trouble, failure(error));
      return;
    }
    queue = got;
    pause.textContent = got.paused ? 'Resume' : 'Pause';
    samples.push({ t: Date.now(), ready: got.ready, leased: got.leased, delayed: got.delayed });
    if (samples.length > 300) samples.shift();
    chart.update(samples);
    set(tags, h('span', { class: 'tag' }, got.type), got.paused && h('span', { class: 'tag hot' }, 'paused'), h('span', { class: 'tag' }, `${count(got.consumers)} consumers`));
    set(left, facts([['Published', count(got.published)], ['Delivered', count(got.delivered)], ['Acked', count(got.acked)], ['Redelivered', count(got.redelivered)], ['Dead-lettered', count(got.dead_lettered)], ['Expired', count(got.expired)], ['Dropped', count(got.dropped)], ['Oldest', got.oldest_ms ? span(got.oldest_ms) : '–']]));
    set(right, facts([['Lease', span(got.lease)], ['Deliveries', got['max-deliver'] ? `${count(got['max-deliver'])} at most` : 'no limit'], ['Dead letters', got['dead-letter'] ? h('a', { class: 'mono', href: href.queue(got['dead-letter']) }, got['dead-letter']) : 'dropped'], ['Expiry', got.ttl ? span(got.ttl) : 'never'], ['Length', got['max-length'] ? `${count(got['max-length'])}, then ${got.overflow}` : 'no limit'], ['Ids kept', got['dedup-window'] ? span(got['dedup-window']) : 'no']]));
  });
  return () => {
    feed.close();
    chart.close();
  };
}

// ---- one router

function oneRouter(main, name) {
  const tags = h('div', { class: 'actions' });
  const body = h('tbody');
  const trouble = h('div', { class: 'card', hidden: true });
  const figures = h('section', { class: 'card pad', 'aria-label': 'Figures' });
  const none = h('div', { class: 'card', hidden: true }, blank('queues', 'Nothing is bound to it', 'What is published here reaches no queue.'));
  const bindings = table('Bindings', [head('Queue'), head('Pattern'), h('th', null, h('span', { class: 'sr' }, 'Action'))], body);
  let router = null;
  const after = async (done) => { if (await done) feed.look(); };
  const act = (text, run, options) => h('button', { type: 'button', onclick: () => { if (router) run(); }, ...options }, text);
  const bindIt = async () => {
    const queues = await forms.queueNames();
    if (queues) await after(forms.bind(router, queues));
  };
  const all = h('div', { class: 'stack' }, h('div', { class: 'actions' }, act('Publish', () => after(forms.publish([name], name)), { class: 'primary' }), act('Bind a queue', bindIt),
    name !== 'default' && act('Delete…', async () => { if (await forms.deleteRouter(router)) location.hash = '#/queues'; }, { class: 'danger' })), figures, none, bindings);
  set(main, crumb(), h('div', { class: 'head' }, h('h1', { class: 'mono' }, keyName(name)), tags), trouble, all);
  let shown = '';
  const feed = follow(async () => json('GET', forms.routerPath(name)), (got, error) => {
    trouble.hidden = !error;
    all.hidden = Boolean(error) && (error.status === 404 || !router);
    if (error) {
      set(trouble, failure(error));
      return;
    }
    router = got;
    set(tags, h('span', { class: 'tag' }, got.type));
    set(figures, facts([['Published', count(got.published)], ['Reached no queue', count(got.unroutable)]]));
    none.hidden = got.bindings.length > 0;
    bindings.hidden = !none.hidden;
    if (shown === JSON.stringify(got.bindings)) return;
    shown = JSON.stringify(got.bindings);
    set(body, got.bindings.map((one) => h('tr', null, h('th', { scope: 'row' }, named(href.queue, one.queue)), h('td', { class: 'mono' }, got.type === 'fanout' ? 'all' : one.pattern || '–'),
      h('td', { class: 'num' }, h('button', { class: 'quiet', type: 'button', 'aria-label': `Unbind ${one.queue}`, onclick: () => after(forms.unbind(got, one)) }, 'Unbind')))));
  });
  return () => feed.close();
}

export function broker(main, { parts: [kind, ...rest] }) {
  const name = rest.join('/');
  if (kind === 'queue' && name) return oneQueue(main, name);
  if (kind === 'router' && name) return oneRouter(main, name);
  return whole(main);
}
