/* SPDX-License-Identifier: MIT */
#include "server/documents.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "server/http_route.h"

static bool keep(struct core_document *document, char *text) {
    uint8_t md5[HASH_MD5_BYTES];
    if (!text)
        return false;
    document->text = slice_of_cstr(text);
    hash_md5(document->text, md5);
    document->etag[0] = '"';
    for (unsigned i = 0; i < sizeof md5; i++)
        snprintf(document->etag + 1 + 2 * i, 4, "%02x\"", md5[i]);
    return true;
}

enum err documents_open(struct core *core, const char *base_path) {
    if (keep(&core->openapi, openapi_document(http_doors, http_door_count, base_path, false)) &&
        keep(&core->openrpc, openrpc_document(false)))
        return OK;
    documents_close(core);
    return ERR_OUT_OF_MEMORY;
}

static void let_go(struct core_document *document) {
    free((char *)(uintptr_t)document->text.ptr);
    *document = (struct core_document){0};
}

void documents_close(struct core *core) {
    let_go(&core->openapi);
    let_go(&core->openrpc);
}

bool documents_print(const char *name) {
    char *text = NULL;
    op_init();
    if (strcmp(name, "routes") == 0) {
        http_route_init();
        http_route_print(stdout);
        return true;
    }
    if (strcmp(name, "openapi") == 0)
        text = openapi_document(http_doors, http_door_count, NULL, true);
    else if (strcmp(name, "openrpc") == 0)
        text = openrpc_document(true);
    if (text)
        fputs(text, stdout);
    free(text);
    return text != NULL;
}
