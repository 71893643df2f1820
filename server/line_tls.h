/* SPDX-License-Identifier: MIT */
/* TLS of a line connection, over bytes that its loop has read and will send: it does no I/O of its
 * own. The loop's thread only.
 *
 *   socket ──> line_tls_feed ──> line_tls_read ──> requests
 *   replies (loop->out) ──> line_tls_seal ──> loop->out, encrypted ──> socket
 */
#ifndef HATI_SERVER_LINE_TLS_H
#define HATI_SERVER_LINE_TLS_H

#include "base/buf.h"
#include "server/tls.h"

struct line_loop;
struct line_tls;

/* A session that begins with its handshake. NULL without memory. */
struct line_tls *line_tls_new(struct line_loop *loop, struct tls *tls);
void line_tls_free(struct line_tls *session);

/* Bytes came from the socket. False without memory, or where more stand than a peer may send ahead.
 */
bool line_tls_feed(struct line_tls *session, const char *bytes, size_t len);

enum line_tls_state {
    LINE_TLS_DATA,  /* *ret_len bytes were read */
    LINE_TLS_WAITS, /* more must come from the socket */
    LINE_TLS_ENDED, /* the peer said it sends no more */
    LINE_TLS_BROKEN /* it cannot go on; what is to be said about it is with the replies */
};

/* Goes on with the handshake, then reads what was decrypted into `to`, which has room for room
 * bytes. */
enum line_tls_state line_tls_read(struct line_tls *session, char *to, size_t room, size_t *ret_len);
/* True once the handshake is over. */
bool line_tls_is_ready(const struct line_tls *session);

/* Puts what the session has to say, and the loop's out encrypted, in the place of the loop's out.
 * False where it cannot. */
bool line_tls_seal(struct line_tls *session);
/* Says that nothing more is sent; the next seal has it. */
void line_tls_end(struct line_tls *session);

#endif
