/* SPDX-License-Identifier: MIT */
#include "openapi/pages.h"

const struct web_page *web_page_find(struct slice path) {
    for (unsigned i = 0; i < web_page_count; i++)
        if (slice_equal(path, slice_of_cstr(web_pages[i].path)))
            return &web_pages[i];
    return NULL;
}
