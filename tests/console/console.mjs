// SPDX-License-Identifier: MIT
// Every path through the console and the docs page.
import { browser } from './browser.mjs';
import { frame } from './frame.mjs';
import { keys } from './keys.mjs';
import { mishaps } from './mishaps.mjs';
import { queues } from './queues.mjs';
import { signIn } from './signin.mjs';
import { docs } from './docs.mjs';

try {
  for (const part of [frame, keys, mishaps, queues, signIn, docs]) await part();
} finally {
  await browser.close();
}
