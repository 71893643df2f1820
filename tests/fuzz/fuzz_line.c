/* SPDX-License-Identifier: MIT */
/* Lines of Hati's protocol, framed bytes too. */
#include "tests/fuzz/line_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    read_lines(&line_dialect_hati, data, size);
    return 0;
}
