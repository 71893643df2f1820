/* SPDX-License-Identifier: MIT */
/* Answers of the broker's operations. */
#include "handlers/render.h"
#include "server/rest.h"

#define JSON "application/json"

static enum MHD_Result reply_nothing(struct http_request *request) {
    return http_reply_kept(request, MHD_HTTP_NO_CONTENT, NULL, SLICE(""));
}

/* PUT tells whether it was new; everything else is done and has nothing to say. */
static enum MHD_Result reply_done(struct http_request *request) {
    if (request->method != HTTP_PUT)
        return reply_nothing(request);
    bool created = request->call.reply.created;
    return http_reply_kept(request, created ? MHD_HTTP_CREATED : MHD_HTTP_OK, JSON, SLICE("{}\n"));
}

static enum MHD_Result reply_unbound(struct http_request *request) {
    if (request->call.reply.flag)
        return reply_nothing(request);
    return http_reply_error(request, ERR_QUEUE_NOT_EXIST, "the queue is not bound so");
}

static enum MHD_Result reply_result(struct http_request *request) {
    const struct reply *reply = &request->call.reply;
    bool created = reply->created || reply->id.len > 0;
    buf_init(&request->answer, request->server->answer_max);
    if (!render_result(&request->answer, &request->call) ||
        !buf_append_char(&request->answer, '\n'))
        return http_reply_error(request, ERR_OUT_OF_MEMORY, "no memory for the answer");
    return http_reply_kept(request, created ? MHD_HTTP_CREATED : MHD_HTTP_OK, JSON,
                           buf_slice(&request->answer));
}

enum MHD_Result rest_broker_reply(struct http_request *request) {
    switch (request->call.op->reply) {
    case REPLY_TRUE:
        return reply_done(request);
    case REPLY_BOOL:
        return reply_unbound(request);
    case REPLY_MESSAGES:
        return rest_messages_reply(request);
    default:
        return reply_result(request);
    }
}
