/* SPDX-License-Identifier: MIT */
#include "broker/hdd.h"
enum err hdd_open(struct broker *b, char *w, size_t n) { (void)b; (void)w; (void)n; return ERR_UNAVAILABLE; }
void hdd_close(struct broker *b) { (void)b; }
bool hdd_is_ready(const struct broker *b) { (void)b; return true; }
enum err hdd_may_grow(struct broker *b) { (void)b; return OK; }
void hdd_refill_locked(struct queue *q, struct lane *l) { (void)q; (void)l; }
enum err hdd_load_body_locked(struct queue *q, struct message *m) { (void)q; (void)m; return ERR_UNAVAILABLE; }
void hdd_note_locked(struct queue *q, struct message *m) { (void)q; (void)m; }
void hdd_gone_locked(struct queue *q, struct message *m) { (void)q; (void)m; }
void hdd_throw_locked(struct queue *q, struct message *m) { (void)q; (void)m; }
void hdd_renew_store_locked(struct queue *q, uint32_t s) { (void)q; (void)s; }
void hdd_submit(struct broker *b, struct broker_write *w) { (void)b; (void)w; }
void hdd_submit_leases(struct broker *b, struct broker_receive *r) { (void)b; (void)r; }
void hdd_submit_moves(struct move_job *j) { (void)j; }
void hdd_submit_state(struct queue *q, const struct message *m) { (void)q; (void)m; }
enum err hdd_add_publish(struct journal_block *b, const struct broker_stage *s, const struct broker_op *o) { (void)b; (void)s; (void)o; return OK; }
enum err hdd_add_ack(struct journal_block *b, const struct queue *q, uint8_t l, uint64_t s) { (void)b; (void)q; (void)l; (void)s; return OK; }
enum err hdd_add_state(struct journal_block *b, const struct queue *q, const struct message *m, enum message_state s, int64_t d) { (void)b; (void)q; (void)m; (void)s; (void)d; return OK; }
enum err hdd_add_topology(struct broker *b, struct journal_block *k, const struct broker_op *o) { (void)b; (void)k; (void)o; return OK; }
enum err hdd_add_flush(struct journal_block *b, const struct queue *q, uint64_t *s) { (void)b; (void)q; (void)s; return OK; }
void hdd_note_topology(struct broker *b, const struct broker_op *o, const struct queue *q, const struct router *r) { (void)b; (void)o; (void)q; (void)r; }
enum err hdd_peek_locked(struct queue *q, unsigned l, uint64_t a, unsigned n, struct message **f) { (void)q; (void)l; (void)a; (void)n; (void)f; return OK; }
uint64_t broker_stage_size(const struct broker_op *o) { (void)o; return 0; }
