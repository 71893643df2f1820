// SPDX-License-Identifier: MIT
// The documents of a running server, their references replaced, and what may be answered by them.
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

const ajv = new Ajv2020({ strict: false, validateFormats: true });
addFormats(ajv);
const METHODS = ['get', 'head', 'put', 'post', 'delete'];
const GENERAL_CODES = [-32700, -32600, -32601, -32602, -32013];
// What may be said before a path or a method is looked at.
const EARLY = [400, 404, 405, 413];
// Of the library, before the request is ours: it has no X-Request-Id.
const LIBRARY = [400, 413, 414, 431, 501, 505];

/** The value with references replaced, and objects closed: an answer has no members but those told. */
function resolved(document, value) {
  if (Array.isArray(value)) return value.map((element) => resolved(document, element));
  if (value === null || typeof value !== 'object') return value;
  if (value.$ref) {
    const target = value.$ref.slice(2).split('/').reduce((at, part) => at[part], document);
    return resolved(document, target);
  }
  const whole = Object.fromEntries(
    Object.entries(value).map(([name, element]) => [name, resolved(document, element)]));
  if (whole.type === 'object' && whole.properties && whole.additionalProperties === undefined)
    whole.additionalProperties = false;
  return whole;
}

const validators = new Map();

export function faultOf(schema, value) {
  if (schema === true) return null;
  if (!validators.has(schema)) validators.set(schema, ajv.compile(schema));
  const validate = validators.get(schema);
  return validate(value) ? null : ajv.errorsText(validate.errors);
}

/** The JSON values that stand one after another, a line each, in a text. */
function valuesOf(text) {
  try {
    return [JSON.parse(text)];
  } catch {
    return text.split('\n').filter((line) => line.trim()).map((line) => JSON.parse(line));
  }
}

export class Documents {
  constructor(rest, rpc) {
    this.rest = resolved(rest, rest);
    this.rpc = resolved(rpc, rpc);
    this.methods = new Map(this.rpc.methods.map((method) => [method.name, method]));
    this.operations = [];
    this.routes = Object.entries(this.rest.paths).map(([template, item]) => {
      const escaped = template.replace(/[.*+?^$()|[\]\\]/g, '\\$&');
      const pattern = escaped.replace(/\{key\}$/, '(.*)').replace(/\{[^}]*\}/g, '([^/]*)');
      for (const method of METHODS)
        if (item[method])
          this.operations.push({ method: method.toUpperCase(), template, ...item[method] });
      return { template, item, pattern: new RegExp(`^${pattern}$`, 's') };
    });
    this.routes.sort((a, b) => a.template.split('{').length - b.template.split('{').length);
  }

  /** What is wrong with an answer {status, headers, body}; null: nothing. */
  judge(method, path, answer) {
    const { status, headers } = answer;
    if (status >= 500 && status !== 503) return `status ${status}: ${answer.body.slice(0, 300)}`;
    if (!headers['x-request-id'])
      return LIBRARY.includes(status) ? null : `no X-Request-Id with status ${status}`;
    const route = this.routes.find(({ pattern }) => pattern.test(path));
    const operation = route?.item[method.toLowerCase()];
    if (!operation) return EARLY.includes(status) ? null : `${status} of no operation`;
    const response = operation.responses[status];
    if (!response) return `status ${status} is not in the document: ${answer.body.slice(0, 300)}`;
    return this.judgeHeaders(response, headers) ?? this.judgeBody(method, response, answer);
  }

  judgeHeaders(response, headers) {
    for (const [name, header] of Object.entries(response.headers ?? {})) {
      const value = headers[name.toLowerCase()];
      if (value === undefined) {
        if (header.required) return `the header ${name} is missing`;
        continue;
      }
      const number = header.schema?.type === 'integer' && /^-?\d+$/.test(value);
      const fault = header.schema && faultOf(header.schema, number ? Number(value) : value);
      if (fault) return `header ${name}: ${value}: ${fault}`;
    }
    return null;
  }

  judgeBody(method, response, { headers, body }) {
    if (method === 'HEAD' || !response.content)
      return body ? `a body where there is none: ${body.slice(0, 200)}` : null;
    const kind = (headers['content-type'] ?? '').split(';')[0].trim();
    if (response.content['*/*']) return null;
    const media = response.content[kind];
    if (!media) return `the type ${kind} is not in the document`;
    if (kind === 'text/event-stream' || headers['x-cut']) return null;
    try {
      const values = kind.endsWith('json') ? valuesOf(body) : [body];
      for (const value of values) {
        const fault = faultOf(media.schema, value);
        if (fault) return `${fault} in ${JSON.stringify(value).slice(0, 300)}`;
      }
    } catch (error) {
      return `${error.message}: ${body.slice(0, 200)}`;
    }
    return null;
  }

  /** What is wrong with the answer to one call of JSON-RPC 2.0. */
  judgeCall(call, answer) {
    if (faultOf(this.rest.components.schemas.RpcAnswer, answer))
      return `no answer of JSON-RPC: ${JSON.stringify(answer).slice(0, 300)}`;
    const method = this.methods.get(call.method);
    if (answer.error === undefined || answer.error === null) {
      const fault = method && faultOf(method.result.schema, answer.result);
      return fault ? `result: ${fault} in ${JSON.stringify(answer.result).slice(0, 300)}` : null;
    }
    if (typeof answer.error === 'string') return null; // 1.0
    const known = (method?.errors ?? []).map((error) => error.code).filter((code) => code !== -32603);
    return known.includes(answer.error.code) || GENERAL_CODES.includes(answer.error.code)
      ? null : `an error that is not in the document: ${JSON.stringify(answer.error)}`;
  }
}
