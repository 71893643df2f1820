/* SPDX-License-Identifier: MIT */
#include "engine/direct.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void what_libpq_takes_is_no_trouble(void **state) {
    (void)state;
    static const char *const urls[] = {
        "postgresql://hati@db:5432/hati",
        "postgresql://hati:pass%40word@a:5432,b:5433/hati?target_session_attrs=read-write",
        "host=a,b port=5432,5433 dbname=hati password=p@ss/word:x",
        "host=/run/postgresql dbname=hati",
        "host=@abstract dbname=hati",
        "host=a,@abstract dbname=hati",
        "postgresql:///hati?host=/run/postgresql",
        "postgresql://[::1]:5432/hati",
    };
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
        assert_null(direct_url_trouble(urls[i]));
}

static void a_password_that_spills_into_host_or_port_is_refused_and_not_quoted(void **state) {
    (void)state;
    static const char *const urls[] = {
        "postgresql://hati:pa@SECRET@db:5432/hati", "postgresql://hati:SECRET/x@db:5432/hati",
        "host=db port=SECRET", "postgresql://hati:SEC%zzRET@db/hati", "SECRET"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        const char *trouble = direct_url_trouble(urls[i]);
        assert_non_null(trouble);
        assert_null(strstr(trouble, "SECRET"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_libpq_takes_is_no_trouble),
        cmocka_unit_test(a_password_that_spills_into_host_or_port_is_refused_and_not_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
