// SPDX-License-Identifier: MIT
// Requests from the documents: such as they want, and such as miss that by a little.
import fc from 'fast-check';

// Few names, so that what one request made is met by others.
const NAMES = {
  queue: ['q1', 'q2', 'q3'], router: ['default', 'r1', 'r2'], key: ['k1', 'k2', 'a/b', 'q1', 'n'],
  namespace: ['default', 'ns1'], workspace: ['11111111-2222-3333-4444-555555555555'],
  type: ['memory', 'hdd'],
};
// Read at the time of sending, from what was answered before.
export const KEPT = { receipt: '\u0001receipt', cursor: '\u0001cursor', etag: '\u0001etag' };
const WAIT_MS = 20; // whoever waits for messages waits no longer
const ODD_TEXTS = ['', ' ', '\0', '%', '%zz', '%00', '*', '..', '../..', '"', '\\', 'null', 'true',
  '-1', '0', '1e3', '0x10', '+5', '٣', '9007199254740993', '9223372036854775807',
  '9223372036854775808', '18446744073709551616', '99999999999999999999999999', '1.5', 'NaN',
  '\ud800', '\udc00x', '\u202e', '\ufeff', '𝒳', 'é', 'a\r\nX-Y: z', 'x'.repeat(255), 'x'.repeat(256),
  'é'.repeat(128), 'x'.repeat(4096), 'x'.repeat(4097)];
const ODD_NUMBERS = [0, -0, -1, 1, 1.5, 1e300, -1e300, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 53 + 2, 2 ** 63,
  -(2 ** 63), 2 ** 64];
const oddText = fc.oneof(fc.constantFrom(...ODD_TEXTS), fc.string({ unit: 'binary', maxLength: 20 }));
const oddValue = fc.oneof(
  oddText, fc.constantFrom(...ODD_NUMBERS), fc.boolean(), fc.constant(null), fc.constant([]),
  fc.constant({}), fc.constant([[]]), fc.jsonValue({ maxDepth: 2 }));

function text(schema) {
  if (schema.format === 'uuid') return fc.uuid();
  const plain = fc.string({ minLength: schema.minLength ?? 0, maxLength: Math.min(schema.maxLength ?? 20, 20) });
  if (!schema.pattern) return plain;
  const limited = schema.pattern.replace(/\]([+*])\$$/, (_, sign) => `]{${sign === '+' ? 1 : 0},18}$`);
  return fc.stringMatching(new RegExp(limited, 'u'));
}

function number(schema) {
  const { minimum: min = -(2 ** 53) + 1, maximum: max = 2 ** 53 - 1 } = schema;
  return fc.oneof(fc.constantFrom(min, max), fc.integer({ min: Math.max(min, -1000), max: Math.min(max, 1000) }));
}

function object(schema, depth) {
  const members = Object.entries(schema.properties ?? {});
  const required = schema.required ?? [];
  const known = fc.record(
    Object.fromEntries(members.map(([name, member]) => [name, valid(member, name, depth + 1)])),
    { requiredKeys: required });
  const open = typeof schema.additionalProperties === 'object';
  if (!open) return known;
  const value = valid(schema.additionalProperties, 'value', depth + 1);
  return fc.dictionary(fc.constantFrom(...NAMES.key, 'other'), value, { maxKeys: 4 });
}

/** What a schema wants. */
export function valid(schema, name, depth = 0) {
  if (schema === true || schema === undefined) return fc.jsonValue({ maxDepth: 1 });
  if (name === 'wait') return fc.integer({ min: 0, max: WAIT_MS });
  if (KEPT[name] && depth < 3) return fc.oneof(fc.constant(KEPT[name]), text(schema));
  if (NAMES[name] && schema.type === 'string' && !schema.enum)
    return fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...NAMES[name]) }, { weight: 1, arbitrary: text(schema) });
  if ('const' in schema) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return fc.oneof(...choices.map((choice) => valid(choice, name, depth)));
  if (Array.isArray(schema.type))
    return fc.oneof(...schema.type.map((type) => type === 'string' && schema.type.includes('integer')
      ? number(schema).map(String) : valid({ ...schema, type }, name, depth)));
  switch (schema.type) {
    case 'string': return text(schema);
    case 'integer': case 'number': return number(schema);
    case 'boolean': return fc.boolean();
    case 'null': return fc.constant(null);
    case 'array': return fc.array(valid(schema.items, name, depth + 1), { minLength: schema.minItems ?? 0, maxLength: 4 });
    case 'object': return object(schema, depth);
    default: return fc.jsonValue({ maxDepth: 1 });
  }
}

/** What misses a schema by a little. */
function near(schema, name) {
  const choices = [oddValue];
  if (schema.minimum !== undefined) choices.push(fc.constantFrom(schema.minimum - 1, schema.minimum, String(schema.minimum - 1)));
  if (schema.maximum !== undefined && name !== 'wait')
    choices.push(fc.constantFrom(schema.maximum, schema.maximum + 1, String(schema.maximum + 1)));
  if (schema.maxLength) choices.push(fc.constantFrom('x'.repeat(schema.maxLength), 'x'.repeat(schema.maxLength + 1)));
  return fc.oneof(...choices).map((value) => (name === 'wait' && Number(value) > WAIT_MS ? -1 : value));
}

const maybe = (schema, name) => fc.oneof(
  { weight: 8, arbitrary: valid(schema, name) }, { weight: 1, arbitrary: near(schema, name) });

/** Text of JSON, sometimes damaged. */
function jsonText(value) {
  const damage = fc.oneof(
    { weight: 12, arbitrary: fc.constant((json) => json) },
    { weight: 1, arbitrary: fc.nat(200).map((at) => (json) => json.slice(0, at)) },
    { weight: 1, arbitrary: fc.nat(200).map((at) => (json) => `${json.slice(0, at)}\xff${json.slice(at)}`) },
    { weight: 1, arbitrary: fc.constant((json) => json.replace(/\d+/, '1e999')) },
    { weight: 1, arbitrary: fc.constant((json) => json.replace(/\d+/, '9'.repeat(400))) },
    { weight: 1, arbitrary: fc.constant((json) => json.replace('{', '{"a":1,"a":2,')) },
    { weight: 1, arbitrary: fc.constant((json) => json.replace(/"(\w)/, '"\\ud800\\u0000$1')) },
    { weight: 1, arbitrary: fc.constant((json) => `[`.repeat(3000) + json) },
    { weight: 1, arbitrary: fc.constant((json) => `\ufeff ${json}\n`) });
  return fc.tuple(value, damage).map(([plain, change]) => change(JSON.stringify(plain) ?? ''));
}

/** An object of a schema: sometimes with a member too many, too few, or of another kind. */
function nearObject(schema) {
  const whole = valid(schema, 'body');
  const members = Object.entries(schema.properties ?? {});
  const changes = [
    { weight: 8, arbitrary: whole },
    { weight: 1, arbitrary: fc.tuple(whole, oddText, oddValue).map(([value, name, more]) =>
      (value && typeof value === 'object' && !Array.isArray(value) ? { ...value, [name]: more } : value)) },
    { weight: 1, arbitrary: oddValue },
  ];
  for (const [name, member] of members) {
    changes.push({ weight: 1, arbitrary: fc.tuple(whole, near(member, name)).map(([value, other]) => ({ ...value, [name]: other })) });
    changes.push({ weight: 1, arbitrary: whole.map((value) => ({ ...value, [name]: undefined })) });
  }
  return fc.oneof(...changes);
}

const encode = (value) => encodeURIComponent(String(value).toWellFormed());
const pathPart = (value) => fc.oneof(
  { weight: 20, arbitrary: fc.constant(encode(value)) },
  { weight: 1, arbitrary: fc.constantFrom('%00', '%', '%ff', '%c0%80', '%zz', '%2e%2e', '%25', '', '%ed%a0%80') });

/** `a=1&b=2`: sometimes with one twice, unknown, or encoded oddly. */
function query(params) {
  const pairs = params.map((param) => {
    const schema = param.schema ?? Object.values(param.content)[0].schema;
    const one = maybe(schema, param.name).map((value) =>
      `${param.name}=${encode(typeof value === 'object' ? JSON.stringify(value) : value)}`);
    return fc.option(one, { nil: undefined, freq: param.required ? 20 : 2 });
  });
  const more = fc.oneof(
    { weight: 12, arbitrary: fc.constant('') },
    { weight: 1, arbitrary: fc.constantFrom('unknown=1', '&&', '=', 'a', 'ttl=%', 'type=%00', 'limit=1&limit=2', 'type=hdd&type=memory', '%74ype=hdd') });
  return fc.tuple(...pairs, more).map((list) => list.filter(Boolean).join('&'));
}

function headers(params) {
  const fields = Object.fromEntries(params.map((param) => [param.name, fc.oneof(
    { weight: 3, arbitrary: valid(param.schema ?? true, param.name === 'If-Match' ? 'etag' : param.name).map(String) },
    { weight: 1, arbitrary: fc.constantFrom('*', '"x"', KEPT.etag, '', 'W/"a"', 'bytes=0-0', 'bytes=-1', 'bytes=9-1', '{"hati":"r1"}', '{"hati":"r999999999"}', '{', ',,,') },
  )]));
  return fc.record(fields, { requiredKeys: [] });
}

function body(operation) {
  const content = operation.requestBody?.content;
  const any = fc.oneof(fc.string(), fc.constantFrom('', '5', 'x'.repeat(65536), 'x'.repeat(65537)));
  if (!content) return fc.option(any, { nil: undefined, freq: 20 });
  const schema = content['application/json']?.schema;
  return schema ? jsonText(nearObject(schema)) : any;
}

function rest(operation) {
  const params = operation.parameters ?? [];
  const inPath = params.filter((param) => param.in === 'path');
  const parts = fc.tuple(...inPath.map((param) => maybe(param.schema, param.name).chain(pathPart)));
  return fc.record({
    method: fc.constant(operation.method),
    path: parts.map((list) => inPath.reduce((path, param, i) => path.replace(`{${param.name}}`, () => list[i]), operation.template)),
    query: query(params.filter((param) => param.in === 'query')),
    headers: headers(params.filter((param) => param.in === 'header')),
    body: body(operation),
  });
}

function call(method) {
  const fields = Object.fromEntries(method.params.map((param) => [param.name, maybe(param.schema, param.name)]));
  const required = method.params.filter((param) => param.required).map((param) => param.name);
  const byName = fc.oneof(
    { weight: 8, arbitrary: fc.record(fields, { requiredKeys: required }) },
    { weight: 1, arbitrary: fc.record(fields, { requiredKeys: [] }) },
    { weight: 1, arbitrary: oddValue });
  const byPlace = fc.tuple(...Object.values(fields)).chain((list) => fc.nat(list.length + 1).map((n) => list.slice(0, n)));
  const params = fc.oneof({ weight: 4, arbitrary: byName }, { weight: 1, arbitrary: byPlace });
  const id = fc.oneof({ weight: 8, arbitrary: fc.nat() }, { weight: 1, arbitrary: oddValue });
  return fc.record({ jsonrpc: fc.constantFrom('2.0', '2.0', '2.0', '2.0', undefined, '1.0', 2), method: fc.constantFrom(method.name), params, id },
    { requiredKeys: ['method', 'jsonrpc'] });
}

/** Requests of every operation of both documents whose name has `only` in it. */
export function requests(documents, only) {
  const routes = documents.operations.filter(({ template, operationId }) =>
    !['/', '/rpc'].includes(template) && operationId.toLowerCase().includes(only.replace('.', '').toLowerCase()));
  const ofRest = routes.length ? fc.oneof(...routes.map(rest)) : null;
  const calls = fc.oneof(...documents.rpc.methods
    .filter(({ name }) => name.toLowerCase().includes(only.toLowerCase())).map(call));
  const bodies = fc.oneof({ weight: 5, arbitrary: calls }, { weight: 1, arbitrary: fc.array(calls, { maxLength: 5 }) });
  const ofRpc = fc.record({ door: fc.constantFrom('/rpc', '/', 'line'), text: jsonText(bodies) });
  const rpc = ofRpc.map((request) => ({ kind: 'rpc', ...request }));
  return ofRest ? fc.oneof(ofRest.map((request) => ({ kind: 'rest', ...request })), rpc) : rpc;
}
