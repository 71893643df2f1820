/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <stddef.h>

struct err_row {
    const char *word;
    const char *text;
    int http_status;
    int rpc_code;
};

static const struct err_row rows[ERR_COUNT] = {
    [OK] = {"OK", "done", 200, 0},
    [ERR_PENDING] = {"PENDING", "the answer comes later", 500, -32603},
    [ERR_WOULD_WAIT] = {"WOULD_WAIT", "the answer would come later", 500, -32603},
#define X(name, word_, http_, rpc_, text_)                                                         \
    [ERR_##name] = {.word = (word_), .text = (text_), .http_status = (http_), .rpc_code = (rpc_)},
    ERR_LIST(X)
#undef X
};

static const struct err_row *row_of(enum err err) {
    return (unsigned)err < ERR_COUNT ? &rows[err] : &rows[ERR_INTERNAL];
}

const char *err_word(enum err err) {
    return row_of(err)->word;
}

const char *err_text(enum err err) {
    return row_of(err)->text;
}

int err_http_status(enum err err) {
    return row_of(err)->http_status;
}

int err_rpc_code(enum err err) {
    return row_of(err)->rpc_code;
}

const char *err_outcome(enum err err) {
    return err == ERR_TIMEOUT ? "unknown" : err == ERR_UNAVAILABLE ? "not-applied" : NULL;
}
