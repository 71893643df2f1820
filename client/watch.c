/* SPDX-License-Identifier: MIT */
#include "client/watch.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/interrupt.h"
#include "client/show.h"
#include "client/stats.h"

#define PAGE_MAX (16U << 20)
#define OTHER_SCREEN "\x1b[?1049h\x1b[?25l"
#define FIRST_SCREEN "\x1b[?25h\x1b[?1049l"
#define HOME "\x1b[H"
#define ERASE_BELOW "\x1b[J"

struct watch {
    struct session *session;
    struct buf now, before; /* answers */
    int64_t now_ms, before_ms;
    bool away;
};

/* Asks for figures; what was now is before. */
static enum wire_result sample(struct watch *watch) {
    struct slice line;
    enum wire_result result = session_ask(watch->session, SLICE("STATS"), &line);
    watch->away = result != WIRE_GOOD;
    if (result != WIRE_GOOD)
        return result;
    struct buf spare = watch->before;
    watch->before = watch->now;
    watch->before_ms = watch->now_ms;
    watch->now = spare;
    watch->now_ms = clock_steady_ms();
    buf_clear(&watch->now);
    buf_append(&watch->now, line);
    return result;
}

static void draw(struct watch *watch) {
    const struct options *options = watch->session->options;
    struct winsize size = {0};
    struct buf page, screen;
    buf_init(&page, PAGE_MAX);
    buf_init(&screen, PAGE_MAX * 2);
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || !size.ws_row || !size.ws_col)
        size = (struct winsize){.ws_row = 24, .ws_col = 80};
    buf_printf(&page, "%s   every %.1f s   q ends\n", options->place,
               (double)options->every_ms / 1000.0);
    if (watch->away)
        buf_printf(&page, "%s; trying again\n", watch->session->wire.why);
    else if (!stats_page(&page, buf_slice(&watch->now), buf_slice(&watch->before),
                         watch->now_ms - watch->before_ms))
        buf_printf(&page, "what came is no answer to STATS\n");
    buf_append(&screen, SLICE(HOME));
    stats_fit(&screen, buf_slice(&page), size.ws_row - 1U, size.ws_col);
    buf_append(&screen, SLICE(ERASE_BELOW));
    fwrite(screen.ptr, 1, screen.len, stdout);
    fflush(stdout);
    buf_done(&page);
    buf_done(&screen);
}

/* Until the next figures are due; true where the user wants to end. */
static bool pause_or_end(struct watch *watch) {
    int64_t due_ms = clock_steady_ms() + watch->session->options->every_ms;
    for (;;) {
        int64_t left_ms = due_ms - clock_steady_ms();
        char key;
        switch (interrupt_wait(STDIN_FILENO, POLLIN, -1, left_ms > 0 ? left_ms : 0, NULL)) {
        case WOKE_TIMEOUT:
            return false;
        case WOKE_INTERRUPT:
            return true;
        case WOKE_RESIZE:
            draw(watch);
            break;
        case WOKE_READY:
            if (read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q')
                return true;
        }
    }
}

static enum client_status follow(struct watch *watch) {
    struct termios before;
    bool keys = tcgetattr(STDIN_FILENO, &before) == 0;
    enum wire_result result = WIRE_GOOD;
    if (keys) {
        struct termios raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    fputs(OTHER_SCREEN, stdout);
    do {
        draw(watch);
        if (pause_or_end(watch))
            break;
        result = sample(watch);
    } while (result != WIRE_INTERRUPT);
    fputs(FIRST_SCREEN, stdout);
    fflush(stdout);
    if (keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    interrupt_take();
    return CLIENT_GOOD;
}

static enum client_status print_once(struct watch *watch) {
    struct buf page;
    buf_init(&page, PAGE_MAX);
    if (watch->session->table) {
        stats_page(&page, buf_slice(&watch->now), SLICE(""), 0);
    } else {
        buf_append(&page, buf_slice(&watch->now));
        buf_append_char(&page, '\n');
    }
    fwrite(page.ptr, 1, page.len, stdout);
    buf_done(&page);
    return show_flush() ? CLIENT_GOOD : CLIENT_USAGE;
}

enum client_status watch_run(struct session *session) {
    struct watch watch = {.session = session};
    enum client_status status = CLIENT_AWAY;
    buf_init(&watch.now, FRAME_LINE_MAX);
    buf_init(&watch.before, FRAME_LINE_MAX);
    bool live = session->terminal && isatty(STDIN_FILENO);
    if (live)
        interrupt_catch(true);
    enum wire_result result = sample(&watch);
    if (result == WIRE_GOOD)
        status = live ? follow(&watch) : print_once(&watch);
    else if (result != WIRE_INTERRUPT)
        session_complain(session, session->wire.why);
    if (result == WIRE_REFUSED)
        status = CLIENT_REFUSED;
    buf_done(&watch.now);
    buf_done(&watch.before);
    return status;
}
