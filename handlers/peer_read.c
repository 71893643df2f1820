/* SPDX-License-Identifier: MIT */
#include "handlers/peer_read.h"

#include "handlers/ops.h"

static bool is_default_place(const struct call *call) {
    const struct args *args = &call->args;
    const struct uuid *workspace = &call->core->default_workspace;
    return args->storage == KV_MEMORY && slice_equal(args->ns, SLICE("default")) &&
           memcmp(&args->workspace, workspace, sizeof *workspace) == 0;
}

bool peer_read_applies(const struct call *call) {
    struct peers *peers = call->core->peers;
    if (!peers || !call->asks_peers || !call->op)
        return false;
    bool is_get = call->op->run == op_storage_get || call->op->run == op_storage_get_entry;
    return is_get && is_default_place(call) && peers_count(peers) > 0;
}

/* What is about to be shown as without an end would be one that has none left. */
static bool has_expired(const struct call *call, const struct kv_entry *entry) {
    return entry->expires_at_ms && entry->expires_at_ms <= call->now_ms;
}

static void take_entry(struct call *call, const struct kv_entry *entry) {
    struct kv_entry *to = &call->reply.entry;
    *to = *entry;
    to->revision = 0; /* a peer's says nothing here */
    if (call->op->reply == REPLY_ENTRY)
        hash_md5(to->value, to->etag);
    call->reply.ttl_ms = to->expires_at_ms ? to->expires_at_ms - call->now_ms : 0;
}

static void on_answer(struct peers_question *question) {
    struct call *call = question->context;
    call->err = question->err;
    if (!call->err && has_expired(call, &question->entry))
        call->err = ERR_KEY_NOT_EXIST;
    if (!call->err)
        take_entry(call, &question->entry);
    call->wake(call);
}

/* Field by field: the question's own room is large, and most are answered at once. */
enum err peer_read_ask(struct call *call) {
    struct peers_question *question = &call->kv.question;
    question->key = call->args.key;
    question->arena = call->arena;
    question->done = on_answer;
    question->context = call;
    question->at_once = call->broker.at_once;
    question->now_ms = call->now_ms;
    return peers_ask(call->core->peers, question);
}
