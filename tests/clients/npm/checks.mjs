// SPDX-License-Identifier: MIT
// What the clients in Node share: where the server is, and how a check is told to the runner.
import assert from 'node:assert/strict';

export const httpPort = Number(process.env.CLIENT_HTTP_PORT);
export const linePort = Number(process.env.CLIENT_LINE_PORT);
export const patienceMs = 20000;

/** Runs one check and prints `ok NAME` or `FAIL NAME: why`. */
export async function check(name, run) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in time')), patienceMs);
  });
  try {
    await Promise.race([run(), late]);
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`FAIL ${name}: ${String(error?.message ?? error).replaceAll('\n', ' | ')}`);
  } finally {
    clearTimeout(timer);
  }
}

/** What `promise` fails with; fails itself where it does not fail. */
export async function failureOf(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  return assert.fail(`no failure but ${JSON.stringify(value)}`);
}

/** Asks again until `ask` gives `wanted`: for what a client sends without waiting for an answer. */
export async function until(ask, wanted) {
  const end = Date.now() + patienceMs;
  let got;
  do {
    got = await ask().catch((error) => error);
    if (got === wanted) return;
    await new Promise((done) => setTimeout(done, 10));
  } while (Date.now() < end);
  assert.equal(got, wanted);
}
