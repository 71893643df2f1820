/* SPDX-License-Identifier: MIT */
#include "broker/disk_record.h"

#include "base/hash.h"

#define STORED_SEED 0x6D657373616765ULL
#define STORED_VERSION 1U
#define STORED_SEALED_VERSION 2U

void spot_make(uint32_t store, unsigned lane, uint64_t seq, struct spot *ret_place) {
    put_be32(ret_place->bytes, store);
    ret_place->bytes[4] = (char)lane;
    put_be64(ret_place->bytes + 5, seq);
}

bool spot_read(struct slice key, uint32_t *ret_store, unsigned *ret_lane, uint64_t *ret_seq) {
    if (key.len != SPOT_BYTES || (uint8_t)key.ptr[4] >= LANES)
        return false;
    *ret_store = get_be32(key.ptr);
    *ret_lane = (uint8_t)key.ptr[4];
    *ret_seq = get_be64(key.ptr + 5);
    return true;
}

static char *append(char *to, struct slice bytes) {
    if (bytes.len)
        memcpy(to, bytes.ptr, bytes.len);
    return to + bytes.len;
}

static struct slice take(const char **at, size_t len) {
    struct slice part = slice_make(*at, len);
    *at += len;
    return part;
}

size_t stored_message_size(const struct seal_keys *keys, const struct body *body) {
    return sizeof(struct stored_message) + body_bytes_size(keys, body);
}

static uint64_t sum_of(struct slice place, struct slice behind_sum) {
    return hash_seeded(behind_sum, hash_seeded(place, STORED_SEED));
}

void stored_message_sum(struct slice place, char *bytes, size_t len) {
    uint64_t sum = sum_of(place, slice_make(bytes + sizeof sum, len - sizeof sum));
    memcpy(bytes, &sum, sizeof sum);
}

void stored_message_write(const struct seal_keys *keys, const struct message *message,
                          const struct body *body, enum message_state state, bool plain,
                          const struct spot *place, char *to) {
    struct stored_message stored = {.published_ms = body->published_ms,
                                    .expires_ms = message->expires_ms,
                                    .due_ms = message->due_ms,
                                    .nonce = message->nonce,
                                    .attempt = message->attempt,
                                    .dead_attempt = body->dead_attempt,
                                    .headers_len = body->headers_len,
                                    .payload_len = body->payload_len,
                                    .key_len = body->key_len,
                                    .id_len = body->id_len,
                                    .from_len = body->from_len,
                                    .reason = body->reason,
                                    .state = (uint8_t)state,
                                    .plain = plain,
                                    .version = keys ? STORED_SEALED_VERSION : STORED_VERSION};
    size_t size = stored_message_size(keys, body);
    memcpy(to, &stored, sizeof stored);
    body_bytes_write(keys, spot_slice(place), body, to + sizeof stored);
    stored_message_sum(spot_slice(place), to, size);
}

enum err stored_message_read(struct slice place, struct slice bytes,
                             struct stored_message *ret_stored, struct slice *ret_rest) {
    struct stored_message stored;
    if (bytes.len < sizeof stored)
        return ERR_CORRUPT;
    memcpy(&stored, bytes.ptr, sizeof stored);
    struct slice behind =
        slice_make(bytes.ptr + sizeof stored.checksum, bytes.len - sizeof stored.checksum);
    bool known = stored.version == STORED_VERSION || stored.version == STORED_SEALED_VERSION;
    if (!known || stored.checksum != sum_of(place, behind))
        return ERR_CORRUPT;
    *ret_stored = stored;
    *ret_rest = slice_make(bytes.ptr + sizeof stored, bytes.len - sizeof stored);
    return OK;
}

bool stored_message_is_sealed(const struct stored_message *stored) {
    return stored->version == STORED_SEALED_VERSION;
}

struct body *stored_message_body(const struct seal_keys *keys, struct slice place,
                                 const struct stored_message *stored, struct slice rest,
                                 enum err *ret_err) {
    struct record_publish lengths = {.id_len = stored->id_len,
                                     .from_len = stored->from_len,
                                     .key_len = stored->key_len,
                                     .reason = stored->reason,
                                     .headers_len = stored->headers_len,
                                     .payload_len = stored->payload_len,
                                     .dead_attempt = stored->dead_attempt,
                                     .published_ms = stored->published_ms};
    return body_bytes_read(keys, stored_message_is_sealed(stored), place, &lengths, rest, ret_err);
}

size_t queue_record_size(const struct queue *queue) {
    return sizeof(struct record_queue) + queue->name_len + queue->dead_letter_len;
}

void queue_record_write(const struct queue *queue, char *to) {
    const struct broker_queue_options *options = &queue->options;
    struct record_queue record = {.kind = RECORD_QUEUE,
                                  .storage = (uint8_t)options->storage,
                                  .overflow = (uint8_t)options->overflow,
                                  .paused = options->paused,
                                  .id = queue->id,
                                  .store = queue->store,
                                  .name_len = queue->name_len,
                                  .dead_letter_len = queue->dead_letter_len,
                                  .max_deliver = options->max_deliver,
                                  .lease_ms = options->lease_ms,
                                  .ttl_ms = options->ttl_ms,
                                  .dedup_window_ms = options->dedup_window_ms,
                                  .max_length = options->max_length};
    memcpy(to, &record, sizeof record);
    char *at = append(to + sizeof record, queue_name(queue));
    append(at, options->dead_letter);
}

/* What no caller could have made. */
static bool is_sane(const struct record_queue *record) {
    return record->kind == RECORD_QUEUE && record->name_len > 0 && record->storage <= BROKER_HDD &&
           record->overflow <= OVERFLOW_DROP_HEAD && record->paused <= 1 && record->lease_ms > 0 &&
           record->ttl_ms >= 0 && record->dedup_window_ms >= 0;
}

bool queue_record_read(struct slice bytes, struct record_queue *ret_record, struct slice *ret_name,
                       struct broker_queue_options *ret_options, struct slice *ret_rest) {
    struct record_queue record;
    if (bytes.len < sizeof record)
        return false;
    memcpy(&record, bytes.ptr, sizeof record);
    size_t size = sizeof record + record.name_len + record.dead_letter_len;
    if (!is_sane(&record) || bytes.len < size)
        return false;
    const char *at = bytes.ptr + sizeof record;
    *ret_record = record;
    *ret_name = take(&at, record.name_len);
    *ret_options = (struct broker_queue_options){
        .storage = (enum broker_storage)record.storage,
        .overflow = (enum broker_overflow)record.overflow,
        .paused = record.paused,
        .lease_ms = record.lease_ms,
        .ttl_ms = record.ttl_ms,
        .dedup_window_ms = record.dedup_window_ms,
        .max_length = record.max_length,
        .max_deliver = record.max_deliver,
        .dead_letter = take(&at, record.dead_letter_len),
    };
    *ret_rest = slice_make(bytes.ptr + size, bytes.len - size);
    return true;
}

bool router_record_read(struct slice bytes, struct record_router *ret_record,
                        struct slice *ret_name) {
    struct record_router record;
    if (bytes.len < sizeof record)
        return false;
    memcpy(&record, bytes.ptr, sizeof record);
    if (record.kind != RECORD_ROUTER || record.type > ROUTER_TOPIC || record.name_len == 0 ||
        bytes.len != sizeof record + record.name_len)
        return false;
    *ret_record = record;
    *ret_name = slice_make(bytes.ptr + sizeof record, record.name_len);
    return true;
}
