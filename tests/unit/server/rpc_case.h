/* SPDX-License-Identifier: MIT */
/* Words for what is said to the JSON-RPC engine and heard from it; shared by its units. */
#ifndef HATI_TESTS_RPC_CASE_H
#define HATI_TESTS_RPC_CASE_H

#include "rpc_fake.h"

#define ERROR(code, message) "\"error\":{\"code\":" code ",\"message\":\"" message "\"}"
#define FAILED(code, message, id) "{\"jsonrpc\":\"2.0\"," ERROR(code, message) ",\"id\":" id "}"
#define RESULT(result, id) "{\"jsonrpc\":\"2.0\",\"result\":" result ",\"id\":" id "}"
#define CALL(method, params, id)                                                                   \
    "{\"jsonrpc\":\"2.0\",\"method\":\"" method "\",\"params\":" params ",\"id\":" id "}"
#define TOLD(method, params) "{\"jsonrpc\":\"2.0\",\"method\":\"" method "\",\"params\":" params "}"
#define PARSE "-32700", "SYNTAX: the text is not valid JSON"
#define INVALID "-32600", "SYNTAX: not a valid request object"
#define NO_METHOD "-32601", "UNKNOWN_COMMAND: no such command"
#define BAD_PARAMS "-32602", "SYNTAX: the request is malformed"
#define FAILED_(pair, id) FAILED(pair, id)

#define SET_HDD(key, value, id) CALL("Storage.Set", "[\"hdd\",\"" key "\",\"" value "\"]", id)

static inline int forget(void **state) {
    (void)state;
    fake_forget();
    return 0;
}

static inline void batch_of(struct buf *body, unsigned count) {
    buf_init(body, 1U << 20);
    for (unsigned i = 0; i < count; i++)
        buf_printf(body, "%c" CALL("Server.Ping", "[]", "%u"), i ? ',' : '[', i);
    buf_append(body, SLICE("]\0"));
}

#endif
