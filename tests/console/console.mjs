// SPDX-License-Identifier: MIT
// Every path through the console and the docs page.
import { browser } from './browser.mjs';
import { frame } from './frame.mjs';
import { keys } from './keys.mjs';
import { queues } from './queues.mjs';
import { signIn } from './signin.mjs';
import { docs } from './docs.mjs';

try {
  for (const part of [frame, keys, queues, signIn, docs]) await part();
} finally {
  await browser.close();
}
