// SPDX-License-Identifier: MIT
// Types from the documents of a running server, and the tours compiled with them in strict mode:
// build.mjs OUT. Types of REST are openapi-typescript's. Those of JSON-RPC are too, of a document
// made here with the schemas of every method: what @open-rpc/generator 1.22.3 and @open-rpc/typings
// 1.13.1 write does not compile where a method's name has a dot or a parameter's a hyphen.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { spawnSync } from 'node:child_process';
import openapiTS, { astToString } from 'openapi-typescript';
import { httpPort } from '../npm/checks.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const out = path.resolve(process.argv[2]);

async function documentOf(name) {
  const answer = await fetch(`http://127.0.0.1:${httpPort}/${name}`);
  if (answer.status !== 200) throw new Error(`/${name}: ${answer.status}`);
  return answer.json();
}

/** What a method takes and gives, as one schema. */
function callSchema(method) {
  const params = {
    type: 'object',
    properties: Object.fromEntries(method.params.map((param) => [param.name, param.schema])),
    required: method.params.filter((param) => param.required).map((param) => param.name),
    additionalProperties: false,
  };
  return {
    type: 'object',
    properties: { params, result: method.result.schema },
    required: ['params', 'result'],
  };
}

/** The methods of an OpenRPC document as schemas `method Storage.Set`. */
function schemasOf(openrpc) {
  const methods = openrpc.methods.map((method) => [`method.${method.name}`, callSchema(method)]);
  return {
    openapi: '3.1.0',
    info: { title: 'methods', version: '1' },
    paths: {},
    components: { schemas: { ...openrpc.components.schemas, ...Object.fromEntries(methods) } },
  };
}

async function write(name, document) {
  fs.writeFileSync(path.join(out, name), astToString(await openapiTS(document)));
}

fs.rmSync(out, { recursive: true, force: true });
fs.mkdirSync(out, { recursive: true });
await write('rest.d.ts', await documentOf('openapi.json'));
await write('rpc.d.ts', schemasOf(await documentOf('openrpc.json')));
for (const name of ['rest_tour.ts', 'rpc_tour.ts', 'tsconfig.json', '../npm/checks.mjs'])
  fs.copyFileSync(path.join(here, name), path.join(out, path.basename(name)));
const compiler = path.join(here, '..', 'node_modules', 'typescript', 'bin', 'tsc');
const { status } = spawnSync(process.execPath, [compiler, '-p', out], { stdio: 'inherit' });
process.exit(status ?? 1);
