/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/backup.h"

#define REDRAW_MS 100
#define BAR_CELLS 24

static struct {
    bool is_on, in_bytes, drawn;
    const char *what;
    int64_t began_ms, drawn_ms;
} bar;

void backup_progress_begin(bool quiet, const char *what, bool in_bytes) {
    bar.is_on = !quiet && isatty(STDERR_FILENO);
    bar.in_bytes = in_bytes;
    bar.drawn = false;
    bar.what = what;
    bar.began_ms = clock_steady_ms();
    bar.drawn_ms = 0;
}

static void write_amount(char *to, size_t room, double amount) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    if (!bar.in_bytes) {
        snprintf(to, room, "%.0f items", amount);
        return;
    }
    for (; amount >= 1024 && unit < 4; unit++)
        amount /= 1024;
    snprintf(to, room, unit ? "%.1f %s" : "%.0f %s", amount, units[unit]);
}

static void write_left(char *to, size_t room, double seconds) {
    unsigned long left = seconds < 360000 ? (unsigned long)(seconds + 0.5) : 359999;
    if (left >= 3600)
        snprintf(to, room, "%lu:%02lu:%02lu left", left / 3600, left / 60 % 60, left % 60);
    else
        snprintf(to, room, "%lu:%02lu left", left / 60, left % 60);
}

void backup_progress_show(uint64_t done, uint64_t total) {
    int64_t now_ms = clock_steady_ms();
    if (!bar.is_on || now_ms - bar.drawn_ms < REDRAW_MS)
        return;
    char cells[BAR_CELLS + 1], amount[32], rate[32], left[40] = "";
    double seconds = (double)(now_ms - bar.began_ms) / 1000;
    double speed = seconds > 0 ? (double)done / seconds : 0;
    double part = total && done < total ? (double)done / (double)total : total ? 1 : 0;
    for (int i = 0; i < BAR_CELLS; i++)
        cells[i] = (double)i < part * BAR_CELLS ? '#' : '.';
    cells[BAR_CELLS] = '\0';
    write_amount(amount, sizeof amount, (double)done);
    write_amount(rate, sizeof rate, speed);
    if (total && speed > 0 && done < total)
        write_left(left, sizeof left, (double)(total - done) / speed);
    if (total)
        fprintf(stderr, "\r\033[K%s [%s] %3.0f%%  %s  %s/s  %s", bar.what, cells, part * 100,
                amount, rate, left);
    else
        fprintf(stderr, "\r\033[K%s  %s  %s/s", bar.what, amount, rate);
    fflush(stderr);
    bar.drawn = true;
    bar.drawn_ms = now_ms;
}

void backup_progress_end(void) {
    if (bar.drawn)
        fputs("\r\033[K", stderr);
    fflush(stderr);
    bar.is_on = bar.drawn = false;
}
