// SPDX-License-Identifier: MIT
// What is done to queues and routers, each in a dialog that says what it will do.
import { field, h, set, toast } from './dom.js';
import { call, json, part } from './api.js';
import { confirm, open } from './dialog.js';
import { parseSpan } from './format.js';

export const queuePath = (name) => `broker/queues/${part(name)}`;
export const routerPath = (name) => `broker/routers/${part(name)}`;

const plain = (options) => h('input', { class: 'mono', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off', ...options });
const choice = (values, value) => h('select', { value }, values.map((one) => h('option', { value: one, selected: one === value }, one)));

/** A form in a dialog; `act` throws what went wrong. True where it went through. */
function ask(title, action, parts, act) {
  return open(title, (close) => {
    const error = h('p', { class: 'error', role: 'alert' });
    const go = h('button', { class: 'primary', type: 'submit' }, action);
    return h('form', {
      onsubmit: async (event) => {
        event.preventDefault();
        go.disabled = true;
        try {
          await act();
          close(true);
        } catch (failure) {
          set(error, failure.message);
          go.disabled = false;
        }
      },
    }, parts, error, h('div', { class: 'actions' }, h('button', { type: 'button', onclick: () => close(false) }, 'Cancel'), go));
  });
}

const time = (input) => {
  if (input.value.trim() === '') return undefined;
  const ms = parseSpan(input.value);
  if (!(ms >= 0)) throw new Error('A time is a number with ms, s, m, h or d behind it: 90s');
  return ms;
};

export function publish(routers, router, key = '') {
  const to = choice(routers, router);
  const routing = plain({ value: key });
  const payload = h('textarea', { rows: 7, spellcheck: 'false', autofocus: true });
  const delay = plain({ placeholder: 'none' });
  const priority = h('input', { type: 'number', min: 0, max: 9, value: '0' });
  const headers = plain({ placeholder: '{"trace":"…"}' });
  return ask('Publish a message', 'Publish', [h('div', { class: 'two' }, field('Router', to), field('Routing key', routing)), field('Payload', payload),
    h('div', { class: 'two' }, field('Delay', delay), field('Priority, 0 to 9', priority)), field('Headers, a JSON object', headers)], async () => {
    const params = { router: to.value, key: routing.value, payload: payload.value, delay: time(delay), priority: Number(priority.value) || undefined };
    if (headers.value.trim()) params.headers = JSON.parse(headers.value);
    const answer = await json('POST', 'rpc', { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'Broker.Publish', params }) });
    if (answer.error) throw new Error(answer.error.message);
    const { queues } = answer.result;
    toast(queues ? `Published to ${queues} ${queues === 1 ? 'queue' : 'queues'}` : 'Published, but it reached no queue', queues ? 'ok' : 'bad');
  });
}

export function createQueue(queues) {
  const name = plain({ required: true, autofocus: true });
  const type = choice(['hdd', 'memory'], 'hdd');
  const lease = plain({ placeholder: '30s' });
  const deliver = h('input', { type: 'number', min: 0, placeholder: 'no limit' });
  const dead = h('select', null, h('option', { value: '' }, 'none'), queues.map((queue) => h('option', { value: queue }, queue)));
  const length = h('input', { type: 'number', min: 0, placeholder: 'no limit' });
  const ttl = plain({ placeholder: 'never' });
  return ask('New queue', 'Make it', [field('Name', name), h('div', { class: 'two' }, field('Storage', type), field('Lease', lease)),
    h('div', { class: 'two' }, field('Deliveries at most', deliver), field('Dead letters go to', dead)), h('div', { class: 'two' }, field('Messages at most', length), field('Messages expire after', ttl))], async () => {
    const body = { type: type.value, lease: time(lease), 'max-deliver': Number(deliver.value) || undefined, 'dead-letter': dead.value || undefined, 'max-length': Number(length.value) || undefined, ttl: time(ttl) };
    const answer = await call('PUT', queuePath(name.value), { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    toast(answer.status === 201 ? `Queue ${name.value} is there` : 'It was there already');
  });
}

export function createRouter() {
  const name = plain({ required: true, autofocus: true });
  const type = choice(['direct', 'topic', 'fanout'], 'topic');
  return ask('New router', 'Make it', [field('Name', name), field('Type', type, 'direct: the pattern is the key. topic: words with * and #. fanout: to all.')], async () => {
    const answer = await call('PUT', routerPath(name.value), { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ type: type.value }) });
    toast(answer.status === 201 ? `Router ${name.value} is there` : 'It was there already');
  });
}

/** The names of all queues; null where they are not told, and why is said. */
export async function queueNames() {
  try {
    return (await json('GET', 'broker/queues')).queues;
  } catch (error) {
    toast(error.message, 'bad');
    return null;
  }
}

export function bind(router, queues) {
  const queue = choice(queues, queues[0]);
  const pattern = plain({ placeholder: router.type === 'topic' ? 'orders.*.paid' : '' });
  return ask(`Bind a queue to ${router.name}`, 'Bind', [field('Queue', queue), router.type !== 'fanout' && field('Pattern', pattern, router.type === 'topic' ? '* is one word, # any number of them' : 'The routing key; the queue’s name where left out')],
    async () => {
      await call('PUT', `${routerPath(router.name)}/bindings/${part(queue.value)}`, { query: { pattern: pattern.value } });
      toast('Bound');
    });
}

async function sure(title, text, action, act, word) {
  if (!(await confirm(title, text, action, word))) return false;
  try {
    toast(await act());
    return true;
  } catch (error) {
    toast(error.message, 'bad');
    return false;
  }
}

export const purge = (queue) => sure(`Purge ${queue.name}?`, `All ${queue.ready + queue.leased + queue.delayed} messages of this queue are dropped, those that a consumer holds too. There is no way back.`, 'Purge', async () => {
  const { dropped } = await json('DELETE', `${queuePath(queue.name)}/messages`);
  return `${dropped} messages dropped`;
}, queue.name);

export const redrive = (queue) => sure(`Redrive ${queue.name}?`, 'Its dead letters go back to the queues they came from, and are delivered anew.', 'Redrive', async () => {
  const { moved } = await json('POST', `${queuePath(queue.name)}/redrive`);
  return moved ? `${moved} messages went back` : 'No message of this queue is a dead letter';
});

export const deleteQueue = (queue) => sure(`Delete the queue ${queue.name}?`, 'The queue, its messages and its bindings go at once. There is no way back.', 'Delete', async () => {
  await call('DELETE', queuePath(queue.name));
  return 'Deleted';
}, queue.name);

export const deleteRouter = (router) => sure(`Delete the router ${router.name}?`, 'The router and its bindings go; queues and their messages stay.', 'Delete', async () => {
  await call('DELETE', routerPath(router.name));
  return 'Deleted';
});

export const unbind = (router, { queue, pattern }) => sure('Take this binding back?', `${queue} no longer gets what ${router.name} takes in${pattern ? ` for ${pattern}` : ''}.`, 'Unbind', async () => {
  await call('DELETE', `${routerPath(router.name)}/bindings/${part(queue)}`, { query: { pattern } });
  return 'Unbound';
});

export async function pause(queue) {
  try {
    await call('POST', `${queuePath(queue.name)}/${queue.paused ? 'resume' : 'pause'}`);
    toast(queue.paused ? 'Messages are handed out again' : 'No message is handed out until it is resumed');
  } catch (error) {
    toast(error.message, 'bad');
  }
}
