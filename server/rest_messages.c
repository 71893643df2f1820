/* SPDX-License-Identifier: MIT */
/* Messages that were received, as {"messages":[…]}. However much they hold, one of them is rendered
 * at a time. */
#include <stdlib.h>

#include "handlers/render.h"
#include "server/rest.h"

#define JSON "application/json"
#define CHUNK_BYTES 32768U /* rendered at a time */
#define BLOCK_BYTES 4096U

struct rest_messages {
    struct buf out;    /* rendered, not yet taken */
    size_t taken;      /* bytes of it */
    unsigned rendered; /* messages */
    bool ended;        /* all is rendered */
};

void rest_messages_free(struct rest_messages *messages) {
    buf_done(&messages->out);
    free(messages);
}

static void render_some(struct rest_messages *messages, const struct broker_receive *receive) {
    struct buf *out = &messages->out;
    while (messages->rendered < receive->count && out->len < CHUNK_BYTES) {
        if (messages->rendered)
            buf_append_char(out, ',');
        render_delivery(out, &receive->deliveries[messages->rendered++]);
    }
    messages->ended = messages->rendered == receive->count;
    if (messages->ended)
        buf_append(out, SLICE("]}\n"));
}

static ssize_t read_messages(void *context, uint64_t position, char *to, size_t max_bytes) {
    struct http_request *request = context;
    struct rest_messages *messages = request->messages;
    (void)position;
    if (messages->taken == messages->out.len) {
        if (messages->ended)
            return MHD_CONTENT_READER_END_OF_STREAM;
        buf_clear(&messages->out);
        messages->taken = 0;
        render_some(messages, &request->call.broker.receive);
    }
    if (messages->out.failed)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t len = messages->out.len - messages->taken;
    if (len > max_bytes)
        len = max_bytes;
    memcpy(to, messages->out.ptr + messages->taken, len);
    messages->taken += len;
    request->out_bytes += len;
    return (ssize_t)len;
}

static enum MHD_Result reply(struct http_request *request) {
    struct rest_messages *messages = request->messages;
    buf_append(&messages->out, SLICE("{\"messages\":["));
    render_some(messages, &request->call.broker.receive);
    if (messages->out.failed)
        return http_reply_error(request, ERR_OUT_OF_MEMORY, "no memory for the answer");
    if (messages->ended)
        return http_reply_kept(request, MHD_HTTP_OK, JSON, buf_slice(&messages->out));
    struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES,
                                                                      read_messages, request, NULL);
    if (response && !http_add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, JSON)) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return http_reply(request, MHD_HTTP_OK, response);
}

enum MHD_Result rest_messages_reply(struct http_request *request) {
    struct call *call = &request->call;
    bool waited_in_vain = request->was_parked && call->broker.receive.count > 0 &&
                          http_is_gone(request->owner->watched.fd);
    if (waited_in_vain) { /* what came is ready again, for who is still there */
        call_release(call, false);
        return MHD_NO;
    }
    request->messages = calloc(1, sizeof *request->messages);
    if (!request->messages)
        return http_reply_error(request, ERR_OUT_OF_MEMORY, "no memory for the answer");
    buf_init(&request->messages->out, request->server->answer_max);
    enum MHD_Result result = reply(request);
    request->carries = !request->failed;
    return result;
}
