/* SPDX-License-Identifier: MIT */
/* The durable store's front. */
#include "kv/store.h"

enum err kv_hdd_open(const struct kv_options *options, struct kv_hdd **ret_hdd, char *ret_why,
                     size_t why_bytes) {
    (void)options, (void)ret_why, (void)why_bytes;
    *ret_hdd = NULL;
    return OK;
}
void kv_hdd_close(struct kv_hdd *hdd) {
    (void)hdd;
}
enum err kv_hdd_get(struct kv_hdd *hdd, const struct kv_ref *ref, int64_t now_ms, unsigned want,
                    struct arena *arena, struct kv_entry *ret_entry) {
    (void)hdd, (void)ref, (void)now_ms, (void)want, (void)arena, (void)ret_entry;
    return ERR_UNAVAILABLE;
}
enum err kv_hdd_submit(struct kv_hdd *hdd, struct kv_write *write) {
    (void)hdd;
    return write->err = ERR_UNAVAILABLE;
}
enum err kv_hdd_list(struct kv_hdd *hdd, struct kv_list *list) {
    (void)hdd;
    return list->err = ERR_UNAVAILABLE;
}
enum err kv_hdd_count(struct kv_hdd *hdd, struct kv_count *count) {
    (void)hdd;
    return count->err = ERR_UNAVAILABLE;
}
void kv_hdd_stats(struct kv_hdd *hdd, struct kv_stats *ret_stats) {
    (void)hdd, (void)ret_stats;
}
bool kv_hdd_is_ready(struct kv_hdd *hdd) {
    (void)hdd;
    return true;
}
