/* SPDX-License-Identifier: MIT */
/* Statements on messages: what a transaction does to them. */
#include "engine/sql.h"

/* Behind all that the database's clock and this node's last one allow; $random in the lower 10
 * bits, so that two nodes seldom choose the same. Once for the whole statement: the order of its
 * rows is that of the arrays. */
#define BASE(random, last)                                                                         \
    "base AS MATERIALIZED (SELECT {now} AS now,"                                                   \
    " GREATEST((extract(epoch FROM clock_timestamp()) * 1000000)::int8 * 1024 + " random ","       \
    " " last " + 1) AS seq)"

const struct sql sql_messages[] = {
    {.name = "messages_add",
     .text = "WITH " BASE(
         "$10::int8",
         "$11::int8") ", made AS ("
                      "INSERT INTO {s}.msg{m} (queue, place, seq, due, lease, attempt, expires, "
                      "published, id,"
                      " rkey, headers, body, reason, origin, origin_attempt)"
                      " SELECT a.queue, a.place, base.seq + a.n,"
                      " CASE WHEN a.delay > 0 THEN base.now + a.delay ELSE 0 END, 0, 0,"
                      " CASE WHEN a.ttl > 0 THEN base.now + a.ttl ELSE 0 END, base.now,"
                      " b.id, b.rkey, b.headers, b.body, 0, ''::bytea, 0"
                      " FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[], $5::int8[]) "
                      "WITH ORDINALITY"
                      " AS a (queue, place, delay, ttl, message, n)"
                      " JOIN unnest($6::bytea[], $7::bytea[], $8::bytea[], $9::bytea[]) WITH "
                      "ORDINALITY"
                      " AS b (id, rkey, headers, body, n) ON b.n = a.message CROSS JOIN base "
                      "RETURNING seq)"
                      " SELECT coalesce(max(made.seq), 0)::int8 FROM made",
     .why = "Any number of copies in one round trip, each payload sent once however many queues it"
            " goes to; seq is made of the database's clock, so that what is published behind"
            " another's answer comes behind it, whichever node it came by."},
    {.name = "messages_lock",
     .text = "SELECT u.n, m.due, m.attempt, m.expires FROM {s}.msg{m} AS m"
             " JOIN unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[]) WITH ORDINALITY"
             " AS u (queue, place, seq, lease, n)"
             " ON m.queue = u.queue AND m.place = u.place AND m.seq = u.seq"
             " WHERE m.lease = u.lease AND m.lease <> 0 AND m.due > {now}"
             " ORDER BY m.queue, m.place, m.seq FOR UPDATE OF m",
     .why = "By primary key, in one order, so that two transactions wait for each other in one"
            " direction alone; of receipts that are no longer good nothing is locked, for a"
            " receive passes over what is."},
    {.name = "messages_update",
     .text = "UPDATE {s}.msg{m} AS m SET lease = u.lease,"
             " due = CASE WHEN u.after > 0 THEN {now} + u.after ELSE 0 END"
             " FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[], $5::int8[])"
             " AS u (queue, place, seq, after, lease)"
             " WHERE m.queue = u.queue AND m.place = u.place AND m.seq = u.seq",
     .why = "By primary key, of rows that the transaction locked."},
    {.name = "messages_delete",
     .text = "DELETE FROM {s}.msg{m} AS m USING unnest($1::int8[], $2::int8[], $3::int8[])"
             " AS u (queue, place, seq)"
             " WHERE m.queue = u.queue AND m.place = u.place AND m.seq = u.seq",
     .why = "By primary key, of rows that the transaction locked."},
    {.name = "messages_ack",
     .text = "DELETE FROM {s}.msg{m} AS m"
             " USING unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[]) WITH ORDINALITY"
             " AS u (queue, place, seq, lease, n)"
             " WHERE m.queue = u.queue AND m.place = u.place AND m.seq = u.seq"
             " AND m.lease = u.lease AND m.lease <> 0 AND m.due > {now} RETURNING u.n",
     .why = "By primary key and lease in one round trip: which acknowledgements were good is told"
            " by what comes back."},
    {.name = "messages_flush",
     .text = "WITH gone AS (DELETE FROM {s}.msg{m} AS m WHERE m.queue = ANY($1::int8[])"
             " AND m.lease = 0 AND (m.expires = 0 OR m.expires > {now}) RETURNING m.queue)"
             " SELECT g.queue, count(*)::int8 FROM gone AS g GROUP BY g.queue",
     .why = "What is leased stays, and what expired, which may become a dead letter. By the start"
            " of the primary key."},
    {.name = "messages_head",
     .text = "SELECT m.queue, m.place, m.seq FROM {s}.msg{m} AS m"
             " WHERE m.due = 0 AND (m.queue, m.place, m.seq) IN ("
             "SELECT r.queue, r.place, r.seq FROM ("
             "SELECT i.queue, i.place, i.seq, i.due, u.fresh, u.most, row_number() OVER"
             " (PARTITION BY i.queue ORDER BY sign(i.due), i.place DESC, i.seq) AS n,"
             " count(*) OVER (PARTITION BY i.queue) AS total"
             " FROM {s}.msg{m} AS i JOIN unnest($1::int8[], $2::int8[], $3::int8[])"
             " AS u (queue, fresh, most) ON i.queue = u.queue WHERE i.lease = 0"
             " AND (i.expires = 0 OR i.expires > {now})) AS r"
             " WHERE r.due = 0 AND r.n <= r.total + r.fresh - r.most)"
             " ORDER BY m.queue, m.place DESC, m.seq FOR UPDATE SKIP LOCKED",
     .why = "The oldest of the lowest priority, as many as may have to make room; what somebody is"
            " just taking is passed over. FOR UPDATE stands outside of the window function, where"
            " neither allows it."},
    {.name = "queues_lock",
     .text = "SELECT q.id FROM {s}.queue AS q WHERE q.id = ANY($1::int8[]) ORDER BY q.id"
             " FOR UPDATE",
     .why = "Publishers of a queue with a limit go one after another; others never come here."},
    {.name = "queues_room",
     .text = "SELECT m.queue, count(*)::int8, (count(*) FILTER (WHERE m.due > 0))::int8"
             " FROM {s}.msg{m} AS m WHERE m.queue = ANY($1::int8[]) AND m.lease = 0"
             " AND (m.expires = 0 OR m.expires > {now}) GROUP BY m.queue",
     .why = "Behind the lock, in a statement of its own: its snapshot has what those before"
            " committed. What expired takes no room, though nobody swept it yet. Costs what the"
            " limit allows."},
    {.name = "dedup_read",
     .text = "SELECT u.n, d.until FROM {s}.dedup{m} AS d"
             " JOIN unnest($1::int8[], $2::bytea[]) WITH ORDINALITY AS u (queue, hash, n)"
             " ON d.queue = u.queue AND d.hash = u.hash",
     .why =
         "By primary key; nothing is locked, for two who add the same id collide in its key. Ids of"
         " memory queues go with their messages when the database crashes: what is published"
         " again then is queued again."},
    {.name = "dedup_add",
     .text = "INSERT INTO {s}.dedup{m} (queue, hash, until) SELECT u.queue, u.hash, {now} + u.span"
             " FROM unnest($1::int8[], $2::bytea[], $3::int8[]) AS u (queue, hash, span)",
     .why = "Plain: where another node was first it fails with 23505, and the transaction starts"
            " over and sees the id."},
    {.name = "dedup_drop",
     .text = "DELETE FROM {s}.dedup{m} AS d USING unnest($1::int8[], $2::bytea[])"
             " AS u (queue, hash) WHERE d.queue = u.queue AND d.hash = u.hash"
             " AND d.until <= $3::int8",
     .why = "Ids whose window is over, before they are added anew: both must collide with another"
            " node that does the same."},
    {.name = "dedup_sweep",
     .text = "WITH gone AS MATERIALIZED (SELECT d.queue, d.hash FROM {s}.dedup{m} AS d"
             " WHERE d.until < $1::int8 AND d.until < {now}"
             " ORDER BY d.until LIMIT 500 FOR UPDATE SKIP LOCKED)"
             " DELETE FROM {s}.dedup{m} AS d USING gone AS g"
             " WHERE d.queue = g.queue AND d.hash = g.hash",
     .why = "A small batch by index; nodes that sweep together step over each other's rows."},
};

#define X(symbol) +1
_Static_assert(sizeof sql_messages / sizeof *sql_messages == 0 SQL_MESSAGES(X),
               "one row per number");
#undef X
