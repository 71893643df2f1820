/* SPDX-License-Identifier: MIT */
/* The least a JSON-RPC server on libmicrohttpd and jansson can do: parse the body, take the id,
 * answer a result of the size that was asked for. What hati's JSON-RPC is measured against. Usage:
 * mhd_echo [port] [result bytes]; prints the port it serves on 127.0.0.1. */
#include <arpa/inet.h>
#include <jansson.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POOL_BYTES 32768
#define BODY_MAX 8192

struct body {
    size_t len;
    char bytes[BODY_MAX];
};

static char *result;

static enum MHD_Result answer(struct MHD_Connection *connection, const struct body *body) {
    json_auto_t *call = json_loadb(body->bytes, body->len, JSON_REJECT_DUPLICATES, NULL);
    json_auto_t *reply = json_pack("{s:s,s:O?,s:s}", "jsonrpc", "2.0", "id",
                                   json_object_get(call, "id"), "result", result);
    char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
    if (!text)
        return MHD_NO;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    MHD_add_response_header(response, "Content-Type", "application/json");
    enum MHD_Result queued = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result serve(void *context, struct MHD_Connection *connection, const char *url,
                             const char *method, const char *version, const char *data,
                             size_t *data_bytes, void **request) {
    struct body *body = *request;
    (void)context, (void)url, (void)method, (void)version;
    if (!body) {
        body = malloc(sizeof *body);
        if (!body)
            return MHD_NO;
        body->len = 0;
        *request = body;
        return MHD_YES;
    }
    if (*data_bytes) {
        if (*data_bytes > sizeof body->bytes - body->len)
            return MHD_NO;
        memcpy(body->bytes + body->len, data, *data_bytes);
        body->len += *data_bytes;
        *data_bytes = 0;
        return MHD_YES;
    }
    return answer(connection, body);
}

static void complete(void *context, struct MHD_Connection *connection, void **request,
                     enum MHD_RequestTerminationCode code) {
    (void)context, (void)connection, (void)code;
    free(*request);
}

int main(int argc, char **argv) {
    unsigned port = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
    size_t bytes = argc > 2 ? (size_t)atoi(argv[2]) : 100;
    result = malloc(bytes + 1);
    if (!result)
        return 1;
    memset(result, 'v', bytes);
    result[bytes] = 0;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, serve, NULL, MHD_OPTION_SOCK_ADDR, &at,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES, MHD_OPTION_NOTIFY_COMPLETED,
        complete, NULL, MHD_OPTION_END);
    if (!daemon)
        return 1;
    printf("%u\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    pause();
    return 0;
}
