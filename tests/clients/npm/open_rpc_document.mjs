// SPDX-License-Identifier: MIT
// The OpenRPC document given as a file is one, and everything it refers to is there.
import fs from 'node:fs';
import { parseOpenRPCDocument, validateOpenRPCDocument } from '@open-rpc/schema-utils-js';

const document = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const valid = validateOpenRPCDocument(document);
if (valid !== true) {
  console.log(valid.message);
  process.exit(1);
}
await parseOpenRPCDocument(document);
